package spec

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// IsINI says whether a file of that name is a supervisor file.
func IsINI(name string) bool { return strings.HasSuffix(strings.ToLower(name), ".ini") }

// ParseINI reads a supervisor file as a Wish: it is turned into a cluster file,
// as ConvertINI shows, and that is parsed. Problems are reported at the place in
// the supervisor file that they come from.
func ParseINI(name string, src []byte, in Inputs) (*Wish, Diagnostics) {
	text, from, diags := convertINI(name, src, in)
	if diags.HasErrors() {
		return nil, diags.sorted()
	}
	in.Vars = nil
	w, found := Parse(name, text, in)
	ini := newSource(name, src)
	for _, d := range found {
		at := span{}
		if d.Line >= 1 && d.Line <= len(from) {
			at = from[d.Line-1]
		}
		placed := ini.at(at, d.Summary)
		placed.Detail, placed.Hint, placed.Warning = d.Detail, d.Hint, d.Warning
		diags = append(diags, placed)
	}
	if diags.HasErrors() {
		return nil, diags.sorted()
	}
	return w, diags.sorted()
}

// ConvertINI writes a supervisor file as a cluster file, which means the same:
// parsing it gives the Wish of ParseINI. Of in only Networks counts.
func ConvertINI(name string, src []byte, in Inputs) ([]byte, Diagnostics) {
	text, _, diags := convertINI(name, src, in)
	if diags.HasErrors() {
		return nil, diags.sorted()
	}
	if usual, err := Format("converted.hcl", text); err == nil { // what does not parse is shown as it is
		text = usual
	}
	return text, diags.sorted()
}

// The sections and their keys; nil takes any key.
var iniKeys = map[string][]string{
	"vessel-supervisor": {"repository", "image", "tag", "command", "restart", "restart-delay", "start-delay-ms"},
	"network":           {"type", "address", "subnet", "gateway", "dns", "publish"},
	"dataset":           {"dataset", "mount", "pool"},
	"nullfs":            {"directory", "mount", "readonly"},
	"resource":          {"rctl", "devctl-action"},
	"cpuset":            {"list"},
	"jail":              nil,
}

var iniLabelled = map[string]bool{"network": true, "dataset": true, "nullfs": true, "resource": true}

// iniConverter makes one cluster file of one supervisor file.
type iniConverter struct {
	file  *sourceFile
	in    Inputs
	name  string // of the wish and of its jail
	diags Diagnostics

	sections []*iniSection
	out      []string // lines of the cluster file
	from     []span   // where each line comes from
	at       span     // where the lines come from that are written now

	nets     []iniNetwork
	volumes  []iniVolume
	limits   []iniLimit
	hostname iniWord
}

func convertINI(name string, src []byte, in Inputs) ([]byte, []span, Diagnostics) {
	c := &iniConverter{file: newSource(name, src), in: in, name: stem(name)}
	if found := guard(c.file); found != nil {
		return nil, nil, found
	}
	c.sections = lexINI(src, c.fail)
	c.checkSections()
	if err := ValidName(c.name); err != nil {
		c.fail(span{}, "rename the file: its name is that of the jail", "%v", err)
	}
	if c.diags.HasErrors() {
		return nil, nil, c.diags
	}
	c.convert()
	return []byte(strings.Join(c.out, "\n") + "\n"), c.from, c.diags
}

func (c *iniConverter) fail(sp span, hint, format string, args ...any) {
	d := c.file.at(sp, fmt.Sprintf(format, args...))
	d.Hint = hint
	c.diags = append(c.diags, d)
}

func (c *iniConverter) warn(sp span, hint, format string, args ...any) {
	c.fail(sp, hint, format, args...)
	c.diags[len(c.diags)-1].Warning = true
}

// checkSections refuses what nobody knows, and what is there twice.
func (c *iniConverter) checkSections() {
	kinds := make([]string, 0, len(iniKeys))
	for k := range iniKeys {
		kinds = append(kinds, k)
	}
	seen := map[string]bool{}
	for _, s := range c.sections {
		keys, known := iniKeys[s.kind.text]
		if !known {
			c.fail(s.kind.sp, suggest(s.kind.text, kinds), "unknown section [%s]", clip(s.kind.text))
			continue
		}
		switch what := s.kind.text + ":" + s.label.text; {
		case iniLabelled[s.kind.text] && s.label.text == "":
			c.fail(s.head, "["+s.kind.text+":NAME]", "the section has no name")
		case !iniLabelled[s.kind.text] && s.label.text != "":
			c.fail(s.label.sp, "["+s.kind.text+"]", "the section takes no name")
		case seen[what]:
			c.fail(s.head, "", "the section [%s] is there twice", clip(strings.TrimSuffix(what, ":")))
		default:
			seen[what] = true
		}
		c.checkKeys(s, keys)
	}
}

func (c *iniConverter) checkKeys(s *iniSection, known []string) {
	seen := map[string]bool{}
	for _, k := range s.keys {
		if known != nil && !slices.Contains(known, k.key.text) {
			c.fail(k.key.sp, suggest(k.key.text, known), "unknown key %q in [%s]", clip(k.key.text), s.kind.text)
		} else if seen[k.key.text] {
			c.fail(k.key.sp, "", "%s is there twice in [%s]", clip(k.key.text), s.kind.text)
		}
		seen[k.key.text] = true
	}
}

func (c *iniConverter) section(kind string) *iniSection {
	for _, s := range c.sections {
		if s.kind.text == kind {
			return s
		}
	}
	return nil
}

// get is the value of a key; ok is false where there is none. s may be nil.
func (s *iniSection) get(key string) (iniWord, bool) {
	if s == nil {
		return iniWord{}, false
	}
	for _, k := range s.keys {
		if k.key.text == key {
			return k.value, true
		}
	}
	return iniWord{}, false
}

// need is get for a key that must be there.
func (c *iniConverter) need(s *iniSection, key string) iniWord {
	v, ok := s.get(key)
	if !ok || v.text == "" {
		c.fail(s.head, "add "+key+"=...", "[%s:%s] needs %s", s.kind.text, clip(s.label.text), key)
	}
	return v
}

// line writes one line of the cluster file.
func (c *iniConverter) line(format string, args ...any) {
	c.out = append(c.out, fmt.Sprintf(format, args...))
	c.from = append(c.from, c.at)
}

// quoteHCL writes s as a string in which nothing is replaced.
func quoteHCL(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case (r == '$' || r == '%') && strings.HasPrefix(s[i+1:], "{"):
			b.WriteRune(r)
			b.WriteRune(r)
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func quoteList(words []string) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = quoteHCL(w)
	}
	return "[" + strings.Join(out, ", ") + "]"
}

// yesNo reads a bool; def where it is missing.
func (c *iniConverter) yesNo(s *iniSection, key string, def bool) bool {
	v, ok := s.get(key)
	if !ok {
		return def
	}
	switch strings.ToLower(v.text) {
	case "true", "yes", "on", "1":
		return true
	case "false", "no", "off", "0":
		return false
	}
	c.fail(v.sp, "true or false", "%s=%q is neither true nor false", key, clip(v.text))
	return def
}

// whole reads a number from 0; 0 where it is missing.
func (c *iniConverter) whole(s *iniSection, key string) int {
	v, ok := s.get(key)
	if !ok {
		return 0
	}
	n, err := strconv.Atoi(v.text)
	if err != nil || n < 0 || n > 1<<30 {
		c.fail(v.sp, "", "%s=%q is not a number from 0", key, clip(v.text))
	}
	return n
}
