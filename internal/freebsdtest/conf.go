package freebsdtest

import (
	"fmt"
	"strings"
)

// Param is one parameter of a jail.conf(5) file, in the order of the file; a list has one value per element.
type Param struct {
	Name   string
	Values []string // nil: a name alone
}

// Conf is what a jail.conf(5) file says of one jail.
type Conf struct {
	Name   string
	Params []Param
}

// Get returns the values of the last setting of name; += adds to it.
func (c Conf) Get(name string) (values []string, ok bool) {
	for _, p := range c.Params {
		if p.Name == name {
			values, ok = p.Values, true
		}
	}
	return values, ok
}

// Value is the first value of name, "" when it is not set.
func (c Conf) Value(name string) string {
	if v, _ := c.Get(name); len(v) > 0 {
		return v[0]
	}
	return ""
}

// ReadConf reads a jail.conf(5) by the rules of jail(8)'s own lexer, as far as a file without variables, globals and
// wildcards needs them. It was written from those rules and not from the writer that it checks.
func ReadConf(text string) ([]Conf, error) {
	r := confReader{s: text}
	var out []Conf
	for {
		t, err := r.token()
		if err != nil {
			return nil, err
		}
		if t.kind == 0 {
			return out, nil
		}
		if t.kind != 's' {
			return nil, fmt.Errorf("want the name of a jail, got %q", t.text)
		}
		c := Conf{Name: t.text}
		if t, err = r.token(); err != nil {
			return nil, err
		}
		if t.kind != '{' {
			return nil, fmt.Errorf("global parameter %q: not read here", c.Name)
		}
		if err := r.body(&c); err != nil {
			return nil, fmt.Errorf("jail %q: %w", c.Name, err)
		}
		out = append(out, c)
	}
}

type confReader struct {
	s  string
	at int
}

type confToken struct {
	kind byte // 0 end, 's' string, or the character itself; '+' is +=
	text string
}

const bareChars = "!%&()-.:<>?@[]^`|~_$*+/\\"

func bare(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(bareChars, c) >= 0
}

func (r *confReader) token() (confToken, error) {
	if err := r.skip(); err != nil {
		return confToken{}, err
	}
	if r.at >= len(r.s) {
		return confToken{}, nil
	}
	c := r.s[r.at]
	if strings.IndexByte("{};=,", c) >= 0 {
		r.at++
		return confToken{kind: c, text: string(c)}, nil
	}
	if strings.HasPrefix(r.s[r.at:], "+=") {
		r.at += 2
		return confToken{kind: '+', text: "+="}, nil
	}
	var b strings.Builder
	for r.at < len(r.s) { // adjacent pieces join
		switch c := r.s[r.at]; {
		case c == '\'' || c == '"':
			if err := r.quoted(&b); err != nil {
				return confToken{}, err
			}
		case c == '$':
			return confToken{}, fmt.Errorf("variable at byte %d", r.at)
		case bare(c) && !strings.HasPrefix(r.s[r.at:], "+="):
			b.WriteByte(c)
			r.at++
		default:
			if b.Len() == 0 && r.at < len(r.s) && !strings.ContainsRune("'\"", rune(r.s[max(r.at-1, 0)])) {
				return confToken{}, fmt.Errorf("unexpected byte %q at %d", c, r.at)
			}
			return confToken{kind: 's', text: b.String()}, nil
		}
	}
	return confToken{kind: 's', text: b.String()}, nil
}

func (r *confReader) skip() error {
	for r.at < len(r.s) {
		rest := r.s[r.at:]
		switch {
		case strings.IndexByte(" \t\r\n", rest[0]) >= 0:
			r.at++
		case rest[0] == '#' || strings.HasPrefix(rest, "//"):
			n := strings.IndexByte(rest, '\n')
			if n < 0 {
				n = len(rest)
			}
			r.at += n
		case strings.HasPrefix(rest, "/*"):
			n := strings.Index(rest, "*/")
			if n < 0 {
				return fmt.Errorf("comment without an end")
			}
			r.at += n + 2
		default:
			return nil
		}
	}
	return nil
}

// quoted reads one quoted piece. Between double quotes only what needs no variable is taken.
func (r *confReader) quoted(b *strings.Builder) error {
	q := r.s[r.at]
	for r.at++; r.at < len(r.s); r.at++ {
		c := r.s[r.at]
		switch {
		case c == q:
			r.at++
			return nil
		case c == '$' && q == '"':
			return fmt.Errorf("variable at byte %d", r.at)
		case c == 0:
			return fmt.Errorf("NUL at byte %d", r.at)
		case c == '\\':
			r.escape(b)
		default:
			b.WriteByte(c)
		}
	}
	return fmt.Errorf("quote without an end")
}

// escape leaves at on the last byte of the escape.
func (r *confReader) escape(b *strings.Builder) {
	r.at++
	if r.at >= len(r.s) {
		return
	}
	c := r.s[r.at]
	if i := strings.IndexByte("ntrabfv", c); i >= 0 {
		b.WriteByte("\n\t\r\a\b\f\v"[i])
		return
	}
	digits := func(n int, set string, base int) {
		v := 0
		for i := 0; i < n && r.at < len(r.s) && strings.IndexByte(set, r.s[r.at]|0x20) >= 0; i++ {
			d := strings.IndexByte("0123456789abcdef", r.s[r.at]|0x20)
			if r.s[r.at] < 'A' {
				d = int(r.s[r.at] - '0')
			}
			v = v*base + d
			r.at++
		}
		r.at--
		b.WriteByte(byte(v))
	}
	switch {
	case c == '\n':
	case c >= '0' && c <= '7':
		digits(3, "01234567", 8)
	case c == 'x':
		r.at++
		digits(2, "0123456789abcdef", 16)
	default:
		b.WriteByte(c)
	}
}

func (r *confReader) body(c *Conf) error {
	for {
		t, err := r.token()
		if err != nil {
			return err
		}
		switch t.kind {
		case '}':
			return nil
		case ';':
			continue
		case 's':
		default:
			return fmt.Errorf("want a parameter, got %q", t.text)
		}
		if err := r.param(c, Param{Name: t.text}); err != nil {
			return err
		}
	}
}

func (r *confReader) param(c *Conf, p Param) error {
	t, err := r.token()
	if err != nil {
		return err
	}
	if t.kind == '+' {
		p.Values, _ = c.Get(p.Name)
		p.Values = append([]string(nil), p.Values...)
	}
	if t.kind == '=' || t.kind == '+' {
		for t.kind != ';' {
			if t, err = r.token(); err != nil {
				return err
			}
			if t.kind != 's' {
				return fmt.Errorf("%s: want a value, got %q", p.Name, t.text)
			}
			p.Values = append(p.Values, t.text)
			if t, err = r.token(); err != nil {
				return err
			}
			if t.kind != ',' && t.kind != ';' {
				return fmt.Errorf("%s: want , or ;, got %q", p.Name, t.text)
			}
		}
	} else if t.kind != ';' {
		return fmt.Errorf("%s: want ; got %q", p.Name, t.text)
	}
	c.Params = append(c.Params, p)
	return nil
}
