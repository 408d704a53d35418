package spec

import (
	"fmt"
	"strings"
)

// ParseRex reads a .rex file. The image is named after the file, or in.Tag; a nil Image
// means that the Diagnostics hold an error. Keys are computed as if the base
// were no image of a Wish. CopyDigest is asked with contextDir ".", the
// directory of the file. It never panics, whatever src is.
func ParseRex(name string, src []byte, in Inputs) (*Image, Diagnostics) {
	p := parseRex(name, src)
	m := p.finish(name, ".", in)
	if in.Tag != "" {
		m.Name = in.Tag
	}
	if !p.diags.HasErrors() {
		m.seal(BaseKey(m.Base))
		p.check(m)
	}
	if p.diags.HasErrors() {
		return nil, p.diags.sorted()
	}
	return m, p.diags.sorted()
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
