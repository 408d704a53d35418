package plan

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// TextOptions says how Text writes.
type TextOptions struct {
	Color bool   // signs and words say the same without it
	Width int    // of the terminal, in characters; longer lines are folded at blanks. 0: never
	File  string // as the user named it, for the last line; "": what the wish says
}

var signs = map[string]string{ActionCreate: "+", ActionChange: "~", ActionMove: ">", ActionDestroy: "-"}

// colours by ECMA-48 (SGR): green, yellow, cyan, red.
var colours = map[string]string{ActionCreate: "\x1b[32m", ActionChange: "\x1b[33m", ActionMove: "\x1b[36m", ActionDestroy: "\x1b[31m"}

// Text writes p for a person, ending with the command that does exactly this.
func (p *Plan) Text(w io.Writer, o TextOptions) error {
	t := &printer{o: o}
	if len(p.Steps) == 0 {
		t.empty(p)
	} else {
		t.full(p)
	}
	_, err := io.WriteString(w, t.b.String())
	if err != nil {
		return fmt.Errorf("write plan %s: %w", p.Name, err)
	}
	return nil
}

type printer struct {
	o TextOptions
	b strings.Builder
}

func (t *printer) empty(p *Plan) {
	t.line("", fmt.Sprintf("No changes. The cluster is as %s says, at index %d.", p.Name, p.BaseIndex))
	t.rest(p)
	if len(p.Builds) > 0 {
		t.line("", "build with: "+p.applyLine(t.o.File))
	}
}

func (t *printer) full(p *Plan) {
	s := p.Summary
	head := fmt.Sprintf("Plan for %s at index %d   %d to add, %d to change, %d to destroy, %d to move",
		p.Name, p.BaseIndex, s.Create, s.Change, s.Destroy, s.Move)
	if s.Restarts > 0 {
		head += ", " + plural(s.Restarts, "restart")
	}
	t.line("", head)
	host := 0
	width := 0
	for i := range p.Steps {
		if st := &p.Steps[i]; top(st.Kind) {
			width = max(width, utf8.RuneCountInString(st.Kind+" "+st.Name))
			host = max(host, utf8.RuneCountInString(where(st)))
		}
	}
	for i := range p.Steps {
		st := &p.Steps[i]
		if top(st.Kind) {
			name := pad(st.Kind+" "+st.Name, width)
			if st.Kind == KindJail {
				name += "  " + pad(where(st), host)
			}
			t.line(t.sign(st)+" ", name+"  "+strings.Join(topText(st), "   "))
		}
	}
	for i := range p.Steps {
		if st := &p.Steps[i]; !top(st.Kind) {
			t.line("  "+pad(st.Kind, len(KindPublish))+" "+t.sign(st)+" ", st.Name+"  "+lowText(st))
		}
	}
	t.rest(p)
	t.line("", "apply with: "+p.applyLine(t.o.File))
}

// rest writes what is to be built, and the warnings.
func (t *printer) rest(p *Plan) {
	if len(p.Builds) > 0 {
		t.line("", "to build first: "+strings.Join(p.Builds, ", "))
	}
	for _, w := range p.Warnings {
		t.line("", "note: "+w)
	}
}

// top reports whether a step of kind is one that Summary counts; the others
// follow from those and are written below them.
func top(kind string) bool { return kind == KindJail || kind == KindNetwork || kind == KindImage }

func where(st *Step) string {
	switch {
	case st.Kind != KindJail:
		return ""
	case st.From != "":
		return st.From + " -> " + st.Host
	case st.Host == "":
		return "?"
	default:
		return st.Host
	}
}

// topText is what follows the name of a network, an image or a jail.
func topText(st *Step) []string {
	var parts []string
	add := func(s string) {
		if s != "" {
			parts = append(parts, s)
		}
	}
	how := ""
	if st.Action == ActionChange || st.Action == ActionMove {
		how = strings.Join(st.Changes, ", ")
		if st.Kind == KindJail {
			how += " (" + strings.TrimPrefix(st.Reason, "changed, ") + ")"
		}
	}
	add(how)
	switch {
	case st.Kind == KindJail && st.Action == ActionMove:
		add(strings.TrimSpace("keeps " + addressText(st.Addresses)))
	case st.Kind == KindJail && st.Action != ActionChange:
		add(addressText(st.Addresses))
	}
	add(st.Score)
	if st.Kind == KindJail && st.Image != "" && st.Action != ActionDestroy && (st.Action == ActionCreate || st.Restart) {
		add(imageText(st))
	}
	add(st.Detail)
	if st.Kind == KindImage && st.Built == "no" {
		add("to build")
	}
	if st.Action == ActionDestroy {
		add("(" + st.Reason + ")")
	}
	return parts
}

func imageText(st *Step) string {
	switch {
	case st.Built == "no":
		return "image " + st.Image + ": to build"
	case st.Host == "":
		return "image " + st.Image
	case st.Built == "elsewhere":
		return "image " + st.Image + " on " + st.Host + ": to send"
	default:
		return "image " + st.Image + " on " + st.Host + ": yes"
	}
}

func addressText(all []Address) string {
	var parts []string
	for _, a := range all {
		parts = append(parts, a.Address+" ("+a.Network+")")
	}
	return strings.Join(parts, " ")
}

// lowText is what follows the name of a step that follows from others.
func lowText(st *Step) string {
	var parts []string
	if st.Action == ActionChange {
		parts = append(parts, strings.Join(st.Changes, ", "))
	}
	if st.Detail != "" {
		parts = append(parts, st.Detail)
	}
	if st.Kind == KindCert && st.Action != ActionDestroy {
		parts = append(parts, plural(len(st.Names), "name"))
	}
	if st.Kind == KindVolume && st.Host != "" {
		parts = append(parts, "on "+st.Host)
	}
	return strings.Join(parts, "  ")
}

// applyLine is the command that is refused if anything moved since.
func (p *Plan) applyLine(file string) string {
	verb := "apply"
	if p.Destroy {
		verb = "destroy"
	}
	if file == "" && p.Wish != nil {
		file = p.Wish.Source
	}
	if file == "" {
		file = p.Name
	}
	return fmt.Sprintf("rexctl %s %s --check-index %d", verb, quote(file), p.BaseIndex)
}

// quote makes s one word for a POSIX shell.
func quote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._/@:+=-", r)
	}
	if s != "" && s[0] != '-' && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	if strings.HasPrefix(s, "-") {
		s = "./" + s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func (t *printer) sign(st *Step) string {
	if t.o.Color {
		return colours[st.Action] + signs[st.Action] + "\x1b[0m"
	}
	return signs[st.Action]
}

// line writes prefix and text, folded at blanks and indented below the text.
func (t *printer) line(prefix, text string) {
	t.b.WriteString(prefix)
	text = strings.TrimRight(text, " ")
	indent := visible(prefix)
	if t.o.Width > indent {
		const hanging = 4
		for first := true; utf8.RuneCountInString(text) > t.o.Width-indent; first = false {
			at := foldAt(text, t.o.Width-indent)
			if at <= 0 {
				break
			}
			t.b.WriteString(strings.TrimRight(text[:at], " ") + "\n")
			text = strings.TrimLeft(text[at:], " ")
			if first {
				indent += hanging
			}
			t.b.WriteString(strings.Repeat(" ", indent))
			if t.o.Width <= indent {
				break
			}
		}
	}
	t.b.WriteString(text + "\n")
}

// foldAt is the byte of the last blank among the first width characters that
// has something other than blanks before it; 0: none.
func foldAt(s string, width int) int {
	at, n := 0, 0
	for i, r := range s {
		if n > width {
			break
		}
		if r == ' ' && strings.TrimSpace(s[:i]) != "" {
			at = i
		}
		n++
	}
	return at
}

// visible is the width of s without colour sequences.
func visible(s string) int {
	n, in := 0, false
	for _, r := range s {
		switch {
		case r == '\x1b':
			in = true
		case in:
			in = r != 'm'
		default:
			n++
		}
	}
	return n
}

func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s)))
}
