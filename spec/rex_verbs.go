package spec

import (
	"encoding/json"
	"net/netip"
	"path"
	"regexp"
	"strconv"
	"strings"
)

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
	const usage = "COPY [--chown=USER[:GROUP]] SOURCE... DESTINATION; the destination is absolute, and ends with / for several sources"
	w, ok := p.words(verb, rest, 2, MaxArgs, usage)
	if !ok {
		return
	}
	owner, w, ok := p.owner(w)
	if !ok {
		return
	}
	if len(w) < 2 {
		p.fail(verb.sp, usage, "%s needs more", strings.ToUpper(verb.text))
		return
	}
	s := Step{Kind: StepCopy, Dst: w[len(w)-1].text, Owner: owner}
	for _, src := range w[:len(w)-1] {
		if err := ValidContextPath(src.text); err != nil {
			p.fail(src.sp, "paths are relative to the directory of the .rex file", "%v", err)
			continue
		}
		clean := path.Clean(src.text)
		if clean[0] == '-' { // it was ./-x: nobody may take it for a flag
			clean = "./" + clean
		}
		s.Src = append(s.Src, clean)
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
	const usage = "COPYALL [--chown=USER[:GROUP]] copies the whole build context to /"
	w, ok := p.words(verb, rest, 0, 1, usage)
	if !ok {
		return
	}
	owner, w, ok := p.owner(w)
	if !ok {
		return
	}
	if len(w) > 0 {
		p.fail(w[0].sp, usage, "%q is too much", clip(w[0].text))
		return
	}
	p.image.Steps = append(p.image.Steps, Step{Kind: StepCopy, Src: []string{"."}, Dst: "/", Owner: owner})
}

// owner takes --chown=USER[:GROUP] off the words of a COPY.
func (p *rexParser) owner(w []rexWord) (owner string, rest []rexWord, ok bool) {
	if len(w) == 0 || !strings.HasPrefix(w[0].text, "--") {
		return "", w, true
	}
	owner, found := strings.CutPrefix(w[0].text, "--chown=")
	if !found {
		p.fail(w[0].sp, "the only flag is --chown=USER[:GROUP]; write ./ before the name of a file", "COPY has no flag %q", clip(w[0].text))
		return "", nil, false
	}
	if !validOwner.MatchString(owner) {
		p.fail(w[0].sp, "--chown=www-data, --chown=33:33", "%q is not USER or USER:GROUP", clip(owner))
		return "", nil, false
	}
	return owner, w[1:], true
}

// validOwner: names as useradd(8) makes them, or numbers.
var validOwner = regexp.MustCompile(`^[a-z0-9_][a-z0-9_.-]{0,31}(:[a-z0-9_][a-z0-9_.-]{0,31})?$`)

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
