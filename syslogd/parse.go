package syslogd

import (
	"strings"
	"time"
)

// defaultPriority is that of a message without one: user.notice, RFC 3164,
// section 4.3.3.
const defaultPriority = 13

// Parse reads a message of RFC 5424, of RFC 3164 as it is really sent, or any
// text. It never fails: what cannot be told apart stays in Text.
func Parse(raw []byte) Message {
	s := string(raw[:min(len(raw), MaxMessage)])
	s = strings.TrimRight(s, "\r\n\x00")
	pri, rest := priority(s)
	m := Message{Facility: pri >> 3, Severity: pri & 7}
	if rest5424, ok := strings.CutPrefix(rest, "1 "); ok && len(rest) < len(s) {
		if m.parse5424(rest5424) {
			return m
		}
		m = Message{Facility: pri >> 3, Severity: pri & 7}
	}
	m.parse3164(rest)
	return m
}

// priority reads <N>, N from 0 to 191 (RFC 5424, section 6.2.1).
func priority(s string) (pri int, rest string) {
	if s == "" || s[0] != '<' {
		return defaultPriority, s
	}
	for i := 1; i < len(s) && i <= 4; i++ {
		switch c := s[i]; {
		case c == '>' && i > 1 && pri < 192:
			return pri, s[i+1:]
		case c < '0' || c > '9':
			return defaultPriority, s
		default:
			pri = 10*pri + int(c-'0')
		}
	}
	return defaultPriority, s
}

// parse5424 reads what follows the version: RFC 5424, section 6.
func (m *Message) parse5424(s string) bool {
	var fields [5]string
	for i := range fields {
		field, rest, ok := strings.Cut(s, " ")
		if !ok || field == "" {
			return false
		}
		if field != "-" {
			fields[i] = field
		}
		s = rest
	}
	if fields[0] != "" {
		at, err := time.Parse(time.RFC3339Nano, fields[0])
		if err != nil || at.Year() < 1 {
			return false
		}
		m.Time = at
	}
	m.Host, m.App, m.PID, m.ID = fields[1], fields[2], fields[3], fields[4]
	n := structured(s)
	if n < 0 {
		return false
	}
	if s[:n] != "-" {
		m.Data = s[:n]
	}
	if n < len(s) {
		m.Text = strings.TrimPrefix(s[n+1:], "\uFEFF") // it is UTF-8 anyway
	}
	return true
}

// structured is the length of the STRUCTURED-DATA with which s begins, -1 for
// none: RFC 5424, section 6.3. In it " \ and ] are escaped.
func structured(s string) int {
	if s == "-" || strings.HasPrefix(s, "- ") {
		return 1
	}
	i := 0
	for i < len(s) && s[i] == '[' {
		quoted, closed := false, false
		for i++; i < len(s) && !closed; i++ {
			switch c := s[i]; {
			case c < ' ' || c == 0x7f:
				return -1
			case quoted && c == '\\':
				i++
			case c == '"':
				quoted = !quoted
			case !quoted && c == ']':
				closed = true
			case !quoted && c == '[':
				return -1
			}
		}
		if !closed {
			return -1
		}
	}
	if i == 0 || i < len(s) && s[i] != ' ' {
		return -1
	}
	return i
}

// stamps are the forms of times at the begin of a message without a version.
// One without a year and a zone says too little to be kept.
var stamps = []struct {
	layout string
	length int
}{
	{"Jan _2 15:04:05 2006", 20},
	{"Jan _2 15:04:05.000000", 22},
	{"Jan _2 15:04:05.000", 19},
	{"Jan _2 15:04:05", 15},
}

// parse3164 reads TIME HOST TAG[PID]: TEXT, of which each part may be missing.
func (m *Message) parse3164(s string) {
	rest, timed := m.stamp(s)
	if !timed {
		m.tag(s)
		return
	}
	s = rest
	word, behind, ok := strings.Cut(s, " ")
	if ok && word != "" && !strings.ContainsAny(word, ":[") && isTag(behind) {
		m.Host, s = word, behind
	} else if ok && strings.Count(word, ":") > 1 && isTag(behind) { // an IPv6 address
		m.Host, s = word, behind
	}
	m.tag(s)
}

func (m *Message) stamp(s string) (rest string, ok bool) {
	for _, st := range stamps {
		if len(s) > st.length && s[st.length] == ' ' {
			if _, err := time.Parse(st.layout, s[:st.length]); err == nil {
				return s[st.length+1:], true
			}
		}
	}
	word, rest, ok := strings.Cut(s, " ")
	if !ok || len(word) < len("2006-01-02T15:04:05Z") {
		return s, false
	}
	at, err := time.Parse(time.RFC3339Nano, word)
	if err != nil || at.Year() < 1 {
		return s, false
	}
	m.Time = at
	return rest, true
}

// isTag says whether s begins as TAG: or TAG[PID].
func isTag(s string) bool {
	n := strings.IndexAny(s, " :[")
	return n > 0 && n <= maxTag && s[n] != ' '
}

// maxTag is longer than the 32 of RFC 3164: programs have long names.
const maxTag = 48

// tag reads TAG[PID]: TEXT, or only TEXT.
func (m *Message) tag(s string) {
	m.Text = s
	if !isTag(s) {
		return
	}
	n := strings.IndexAny(s, ":[")
	app, rest, pid := s[:n], s[n:], ""
	if rest[0] == '[' {
		end := strings.IndexByte(rest, ']')
		if end < 0 || end > 128 {
			return
		}
		pid, rest = rest[1:end], rest[end+1:]
	}
	text, ok := strings.CutPrefix(rest, ":")
	if !ok || text != "" && text[0] != ' ' && pid == "" {
		return // a word with a colon in it, such as a URL
	}
	m.App, m.PID, m.Text = app, pid, strings.TrimPrefix(text, " ")
}
