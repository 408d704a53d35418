package jail

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path"
	"strconv"
	"strings"
	"time"
)

// param is one line of a jail.conf(5): a name alone, or a name with values.
type param struct {
	name   string
	values []string
}

// Times of jail(8): how long a command of the jail may take when it starts or ends, in seconds.
const execTimeout = 120

// confOwner begins a file, with the id of the jail that it belongs to.
const confOwner = "# Written by rexcarcer for "

// ownerOf is the id in the first line of a file that confText wrote, or "".
func ownerOf(text string) string {
	rest, ok := strings.CutPrefix(text, confOwner)
	if !ok {
		return ""
	}
	id, _, _ := strings.Cut(rest, ";")
	return id
}

// confText is the jail.conf(5) of one jail. Values stand in single quotes always, because there the file knows no variables;
// only a NUL has no way to be written.
func confText(id, name string, params []param) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s; changes are lost at the next start.\n%s {\n", confOwner, id, name)
	for _, p := range params {
		b.WriteString("\t" + p.name)
		for i, v := range p.values {
			q, err := confQuote(v)
			if err != nil {
				return "", fmt.Errorf("%w: %s: %w", ErrFinal, p.name, err)
			}
			if i == 0 {
				b.WriteString(" = " + q)
			} else {
				b.WriteString(", " + q)
			}
		}
		b.WriteString(";\n")
	}
	b.WriteString("}\n")
	return b.String(), nil
}

var errNUL = errors.New("a value holds a NUL byte")

// confQuote writes v between single quotes.
func confQuote(v string) (string, error) {
	var b strings.Builder
	b.WriteByte('\'')
	for i := range len(v) {
		switch c := v[i]; {
		case c == 0:
			return "", errNUL
		case c == '\\' || c == '\'':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c < ' ' || c == 0x7f:
			fmt.Fprintf(&b, `\%03o`, c) // three digits, so that a digit behind is not taken along
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('\'')
	return b.String(), nil
}

// fstabField writes a path for one field of fstab(5), which ends at white space: strvis(3) with octal escapes.
func fstabField(p string) string {
	var b strings.Builder
	for i := range len(p) {
		if c := p[i]; c <= ' ' || c == '\\' || c == '#' || c >= 0x7f {
			fmt.Fprintf(&b, `\%03o`, c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// confOf lists the parameters of s. known says which of those that may be missing it can have.
func confOf(s Spec, ruleset int, stop time.Duration, known func(string) bool) []param {
	p := []param{
		{"path", []string{path.Clean(s.Root)}},
		{"host.hostname", []string{s.hostname()}},
		{"host.hostuuid", []string{s.UUID}},
	}
	if s.NetNS == "" {
		p = append(p, param{"vnet", []string{"new"}}) // fixed at creation, like path
	} else { // that of its parent; a jail without a word about addresses has none
		p = append(p, param{"ip4", []string{"inherit"}}, param{"ip6", []string{"inherit"}})
	}
	p = append(p,
		param{"persist", nil}, // its first process comes later, from outside
		param{"devfs_ruleset", []string{strconv.Itoa(ruleset)}},
		param{"mount.devfs", nil},
		param{"enforce_statfs", []string{"2"}},
		param{"children.max", []string{"0"}},
		// Root in the jail could otherwise change host.hostuuid, by which we know the jail again.
		param{"allow.set_hostname", []string{"0"}},
	)
	for _, ipc := range sysvIPC {
		if known(ipc) { // a name space of its own; databases cannot do without
			p = append(p, param{ipc, []string{"new"}})
		}
	}
	if s.hasCap("NET_RAW") {
		p = append(p, param{"allow.raw_sockets", []string{"1"}})
	}
	if known("meta") {
		p = append(p, param{"meta.rexcarcer.id", []string{s.ID}})
	}
	if m := mountLines(s); len(m) > 0 {
		p = append(p, param{"mount", m})
	}
	p = append(p, param{"exec.clean", nil}, param{"exec.timeout", []string{strconv.Itoa(execTimeout)}}, param{"stop.timeout", []string{wholeSeconds(stop)}})
	if s.LogPath != "" {
		p = append(p, param{"exec.consolelog", []string{path.Clean(s.LogPath)}})
	}
	if s.boots() {
		p = append(p, param{"exec.stop", []string{"/bin/sh /etc/rc.shutdown jail"}})
	}
	return p
}

// mountLines are the mounts of directories of s as lines of fstab(5).
func mountLines(s Spec) []string {
	var out []string
	for _, m := range s.Mounts {
		if !isFile(m.Source) {
			out = append(out, fmt.Sprintf("%s %s nullfs %s 0 0", fstabField(path.Clean(m.Source)), fstabField(path.Join(s.Root, m.Target)), m.options()))
		}
	}
	return out
}

func (m Mount) options() string {
	if m.ReadOnly {
		return "ro,nosuid"
	}
	return "rw,nosuid"
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && !info.IsDir()
}

// wholeSeconds rounds up: 0 would mean no SIGTERM at all (jail(8)).
func wholeSeconds(d time.Duration) string {
	return strconv.Itoa(max(int(math.Ceil(d.Seconds())), 1))
}

// boots says that s is a whole system: its command runs /etc/rc, ends, and leaves services behind.
func (s Spec) boots() bool {
	a := s.Argv
	if len(a) == 2 && (a[0] == "/bin/sh" || a[0] == "sh") {
		a = a[1:]
	}
	return len(a) == 1 && a[0] == "/etc/rc"
}

func (s Spec) hasCap(name string) bool {
	for _, c := range s.AddCaps {
		if strings.TrimPrefix(strings.ToUpper(c), "CAP_") == name {
			return true
		}
	}
	return false
}
