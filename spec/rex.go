package spec

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"path"
	"strconv"
	"strings"
)

// ParseRex reads a .rex file. The image is named after the file; a nil Image
// means that the Diagnostics hold an error. Keys are computed as if the base
// were no image of a Wish. CopyDigest is asked with contextDir ".", the
// directory of the file. It never panics, whatever src is.
func ParseRex(name string, src []byte, in Inputs) (*Image, Diagnostics) {
	p := parseRex(name, src)
	m := p.finish(name, ".", in)
	if !p.diags.HasErrors() {
		p.check(m)
	}
	if p.diags.HasErrors() {
		return nil, p.diags.sorted()
	}
	images := []Image{*m}
	sealKeys(images)
	return &images[0], p.diags.sorted()
}

// rexParser reads one file into an Image.
type rexParser struct {
	file   *sourceFile
	image  Image
	diags  Diagnostics
	places map[string]span // by Problem.Path beneath the image
	base   bool
	seen   map[string]bool // verbs that are allowed once
}

// rexVerb is one verb of the language. NAME of both vocabularies are listed;
// PROVISION is a prefix.
type rexVerb struct {
	name string
	run  func(p *rexParser, verb rexWord, rest rexLine)
}

func rexVerbs() []rexVerb {
	return []rexVerb{
		{"BASE", (*rexParser).doBase}, {"FROM", (*rexParser).doBase},
		{"RUN", (*rexParser).doRun}, {"COPY", (*rexParser).doCopy}, {"COPYALL", (*rexParser).doCopyAll},
		{"HOSTNAME", (*rexParser).doHostname}, {"IP", (*rexParser).doIP}, {"SERVICE", (*rexParser).doService},
		{"ENV", (*rexParser).doEnv}, {"VOLUME", (*rexParser).doVolume}, {"CMD", (*rexParser).doCmd},
		{"START_SSH", (*rexParser).doStartSSH},
	}
}

// foreign are verbs of Dockerfiles, and what to write instead.
var foreign = map[string]string{
	"ADD": "use COPY; unpack archives with RUN", "ENTRYPOINT": "use CMD with the whole command",
	"EXPOSE": "use SERVICE name PORT n", "WORKDIR": "use RUN cd DIR && ..., or workdir in the jail block",
	"USER": "use user in the jail block", "ARG": "use variables of the cluster file", "LABEL": "use a # comment",
	"HEALTHCHECK": "use a check block in the jail's service", "MAINTAINER": "use a # comment",
	"SHELL": "RUN uses /bin/sh", "STOPSIGNAL": "use stop_timeout in the jail block", "ONBUILD": "",
}

func parseRex(name string, src []byte) *rexParser {
	p := &rexParser{file: newSource(name, src), places: make(map[string]span), seen: make(map[string]bool)}
	if len(src) > MaxRexBytes {
		p.file = newSource(name, nil)
		p.fail(span{}, "", "the file has %d bytes, %d are the most", len(src), MaxRexBytes)
		return p
	}
	for _, l := range rexLines(src) {
		if len(p.diags) >= maxProblems {
			break
		}
		p.line(l)
	}
	return p
}

func (p *rexParser) fail(sp span, hint, format string, args ...any) {
	d := p.file.at(sp, fmt.Sprintf(format, args...))
	d.Hint = hint
	p.diags = append(p.diags, d)
}

func (p *rexParser) line(l rexLine) {
	whole := l
	verb, rest := l.cut()
	name := strings.ToUpper(verb.text)
	if name == "PROVISION" {
		verb, rest = rest.cut()
		name = strings.ToUpper(verb.text)
		if name != "RUN" && name != "COPY" && name != "COPYALL" && name != "ENV" {
			if name == "" {
				verb.sp = whole.all()
			}
			p.fail(verb.sp, suggest(verb.text, []string{"RUN", "COPY", "COPYALL"}), "PROVISION wants RUN, COPY or COPYALL after it")
			return
		}
	}
	var names []string
	for _, v := range rexVerbs() {
		if v.name == name {
			if !p.base && name != "BASE" && name != "FROM" && (name == "RUN" || name == "COPY" || name == "COPYALL" || name == "ENV") {
				p.fail(verb.sp, "begin the file with BASE, such as BASE debian:bookworm", "%s before BASE", name)
				p.base = true // once is enough
			}
			before := len(p.image.Steps)
			v.run(p, verb, rest)
			for i := before; i < len(p.image.Steps); i++ {
				p.image.Steps[i].Line = p.file.at(whole.all(), "").Line
				p.image.Steps[i].Text = whole.text
				p.places[fmt.Sprintf("step/%d", i)] = rest.all()
			}
			return
		}
		names = append(names, v.name)
	}
	if hint, ok := foreign[name]; ok {
		p.fail(verb.sp, hint, "%s is not a verb of .rex files", name)
		return
	}
	p.fail(verb.sp, suggest(name, append(names, "PROVISION")), "unknown verb %q", clip(verb.text))
}

// words splits rest and wants between least and most words (-1: any number).
func (p *rexParser) words(verb rexWord, rest rexLine, least, most int, usage string) ([]rexWord, bool) {
	words, at, ok := rest.words()
	if !ok {
		p.fail(at, "", "the quote is not closed")
		return nil, false
	}
	switch {
	case len(words) < least:
		at = verb.sp
		at.end = max(at.end, rest.all().end)
		p.fail(at, usage, "%s needs more", strings.ToUpper(verb.text))
		return nil, false
	case most >= 0 && len(words) > most:
		p.fail(words[most].sp, usage, "%q is too much", clip(words[most].text))
		return nil, false
	}
	return words, true
}

func (p *rexParser) once(verb rexWord, what string) bool {
	if p.seen[what] {
		p.fail(verb.sp, "", "a second %s", what)
		return false
	}
	p.seen[what] = true
	return true
}

func (p *rexParser) doBase(verb rexWord, rest rexLine) {
	p.base = true
	w, ok := p.words(verb, rest, 1, 1, "BASE debian:bookworm")
	if !ok || !p.once(verb, "BASE") {
		return
	}
	if err := ValidBase(w[0].text); err != nil {
		p.fail(w[0].sp, "", "%v", err)
	}
	p.image.Base = w[0].text
	p.places["base"] = w[0].sp
}

func (p *rexParser) doRun(verb rexWord, rest rexLine) {
	if rest.text == "" {
		p.fail(verb.sp, "RUN COMMAND", "RUN needs a command")
		return
	}
	p.image.Steps = append(p.image.Steps, Step{Kind: StepRun, Run: rest.text})
}

func (p *rexParser) doCopy(verb rexWord, rest rexLine) {
	const usage = "COPY SOURCE... DESTINATION; the destination is absolute, and ends with / for several sources"
	w, ok := p.words(verb, rest, 2, MaxArgs, usage)
	if !ok {
		return
	}
	s := Step{Kind: StepCopy, Dst: w[len(w)-1].text}
	for _, src := range w[:len(w)-1] {
		if err := ValidContextPath(src.text); err != nil {
			p.fail(src.sp, "paths are relative to the directory of the .rex file", "%v", err)
			continue
		}
		s.Src = append(s.Src, path.Clean(src.text))
	}
	dst := s.Dst
	if len(dst) > 1 {
		dst = strings.TrimSuffix(dst, "/")
	}
	if err := ValidPath(dst); err != nil {
		p.fail(w[len(w)-1].sp, usage, "%v", err)
	} else if len(s.Src) > 1 && !strings.HasSuffix(s.Dst, "/") {
		p.fail(w[len(w)-1].sp, "write "+clip(s.Dst)+"/", "several sources need a directory to go to")
	}
	p.image.Steps = append(p.image.Steps, s)
}

func (p *rexParser) doCopyAll(verb rexWord, rest rexLine) {
	if _, ok := p.words(verb, rest, 0, 0, "COPYALL alone copies the whole build context to /"); ok {
		p.image.Steps = append(p.image.Steps, Step{Kind: StepCopy, Src: []string{"."}, Dst: "/"})
	}
}

func (p *rexParser) doEnv(verb rexWord, rest rexLine) {
	w, ok := p.words(verb, rest, 1, -1, `ENV NAME=value NAME2="another value"`)
	if !ok {
		return
	}
	s := Step{Kind: StepEnv}
	for _, kv := range w {
		name, value, ok := strings.Cut(kv.text, "=")
		if !ok {
			p.fail(kv.sp, "ENV NAME=value; put a value with blanks in quotes", "%q has no =", clip(kv.text))
			return
		}
		if err := validEnvName(name); err != nil {
			p.fail(kv.sp, "", "%v", err)
			return
		}
		s.Env = append(s.Env, EnvVar{name, value})
	}
	p.image.Env = append(p.image.Env, s.Env...)
	p.image.Steps = append(p.image.Steps, s)
}

func (p *rexParser) doHostname(verb rexWord, rest rexLine) {
	w, ok := p.words(verb, rest, 1, 1, "HOSTNAME www.example.org")
	if !ok || !p.once(verb, "HOSTNAME") {
		return
	}
	p.image.Host = strings.TrimSuffix(w[0].text, ".")
	p.places["hostname"] = w[0].sp
	if err := ValidHostname(p.image.Host); err != nil {
		p.fail(w[0].sp, "", "%v", err)
	}
}

func (p *rexParser) doIP(verb rexWord, rest rexLine) {
	w, ok := p.words(verb, rest, 1, 1, "IP 10.66.0.10/24")
	if !ok || !p.once(verb, "IP") {
		return
	}
	p.places["ip"] = w[0].sp
	addr, err := netip.ParsePrefix(w[0].text)
	if err != nil {
		p.fail(w[0].sp, "such as 10.66.0.10/24", "%q is not ADDRESS/LENGTH", clip(w[0].text))
		return
	}
	p.image.Addr = addr
}

func (p *rexParser) doService(verb rexWord, rest rexLine) {
	const usage = "SERVICE name PORT n, or n/udp"
	w, ok := p.words(verb, rest, 3, 3, usage)
	if !ok {
		return
	}
	if !strings.EqualFold(w[1].text, "PORT") {
		p.fail(w[1].sp, usage, "PORT was expected, not %q", clip(w[1].text))
		return
	}
	if err := ValidName(w[0].text); err != nil {
		p.fail(w[0].sp, "", "%v", err)
		return
	}
	for _, s := range p.image.Service {
		if s.Name == w[0].text {
			p.fail(w[0].sp, "", "service %q is there twice", s.Name)
			return
		}
	}
	number, proto, _ := strings.Cut(w[2].text, "/")
	port, err := strconv.ParseUint(number, 10, 16)
	if err != nil || port == 0 || proto != "" && proto != "tcp" && proto != "udp" {
		p.fail(w[2].sp, usage, "%q is not a port, 1 to 65535", clip(w[2].text))
		return
	}
	p.places["service/"+w[0].text] = w[0].sp
	p.image.Service = append(p.image.Service, Service{Name: w[0].text, Port: uint16(port), Proto: strings.TrimPrefix(proto, "tcp")})
}

func (p *rexParser) doVolume(verb rexWord, rest rexLine) {
	w, ok := p.words(verb, rest, 1, MaxVolumes, "VOLUME /var/lib/data")
	if !ok {
		return
	}
	for _, v := range w {
		c := &checker{}
		c.checkMountPoint("", "volume", v.text)
		switch {
		case len(c.problems) > 0:
			p.fail(v.sp, "", "%s", c.problems[0].Message)
		case contains(p.image.Volumes, v.text):
			p.fail(v.sp, "", "volume %s is there twice", v.text)
		default:
			p.image.Volumes = append(p.image.Volumes, v.text)
		}
	}
}

// shellSigns in CMD show that a shell was expected.
var shellSigns = []string{"&&", "||", "|", ";", ">", ">>", "<", "&"}

func (p *rexParser) doCmd(verb rexWord, rest rexLine) {
	if !p.once(verb, "CMD") {
		return
	}
	p.places["command"] = rest.all()
	if strings.HasPrefix(rest.text, "[") {
		if err := json.Unmarshal([]byte(rest.text), &p.image.Command); err != nil || len(p.image.Command) == 0 {
			p.fail(rest.all(), `CMD ["PROGRAM", "ARGUMENT"], or CMD PROGRAM ARGUMENT`, "CMD is not a list of texts")
		}
		return
	}
	w, ok := p.words(verb, rest, 1, MaxArgs, "CMD PROGRAM ARGUMENT...")
	if !ok {
		return
	}
	for _, a := range w {
		if !a.quoted && contains(shellSigns, a.text) {
			p.fail(a.sp, `CMD sh -c "..."`, "CMD runs a program without a shell: %q would be an argument", a.text)
			return
		}
		p.image.Command = append(p.image.Command, a.text)
	}
}

func (p *rexParser) doStartSSH(verb rexWord, rest rexLine) {
	if _, ok := p.words(verb, rest, 0, 0, "START_SSH stands alone"); ok {
		p.image.SSH = true
	}
}
