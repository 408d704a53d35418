package syslogd

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// MaxMessage is how much of one message is kept, in bytes: RFC 5424, section
// 6.1 wants 2048 at least; rsyslog sends 8192 at most unless told otherwise.
const MaxMessage = 8192

// Message is one message, however it was written. Strings are as they came:
// Line and Format make them harmless.
type Message struct {
	Facility int       // 0..23, RFC 5424 table 1
	Severity int       // 0..7, RFC 5424 table 2
	Time     time.Time // zero where the message says none that is whole
	Host     string    // as the sender calls itself
	App      string    // program; "": none
	PID      string
	ID       string // MSGID of RFC 5424
	Data     string // STRUCTURED-DATA of RFC 5424 with its brackets, "" for none
	Text     string
}

var facilities = [24]string{
	"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
	"ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
}

var severities = [8]string{"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"}

// Level is facility.severity in words, such as user.notice.
func (m *Message) Level() string { return facilities[m.Facility] + "." + severities[m.Severity] }

// Line is m as one line of a log, with the time at which it came and a line
// end: TIME FACILITY.SEVERITY APP[PID]: TEXT.
func (m *Message) Line(came time.Time) []byte {
	b := make([]byte, 0, len(m.Text)+64)
	b = came.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
	b = append(b, ' ')
	b = append(b, m.Level()...)
	b = append(b, ' ')
	if m.App != "" {
		b = append(b, clean(m.App)...)
		if m.PID != "" {
			b = append(b, '[')
			b = append(b, clean(m.PID)...)
			b = append(b, ']')
		}
		b = append(b, ": "...)
	}
	b = append(b, clean(m.Text)...)
	return append(b, '\n')
}

// Format is m by RFC 5424, as sent by host. came stands in for a time that m
// does not say.
func (m *Message) Format(host string, came time.Time) []byte {
	at := m.Time
	if at.IsZero() {
		at = came.UTC()
	}
	data := m.Data
	if data == "" {
		data = "-"
	}
	b := make([]byte, 0, len(m.Text)+len(data)+128)
	b = fmt.Appendf(b, "<%d>1 %s %s %s %s %s %s", m.Facility<<3|m.Severity, at.Format("2006-01-02T15:04:05.000000Z07:00"),
		word(host, 255), word(m.App, 48), word(m.PID, 128), word(m.ID, 32), data)
	if m.Text != "" {
		b = append(b, ' ')
		b = append(b, clean(m.Text)...)
	}
	return b
}

// word is a header field of RFC 5424: printable ASCII without blanks.
func word(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '_'
		}
		return r
	}, s[:min(len(s), most)])
	if s == "" {
		return "-"
	}
	return s
}

// clean makes one line of text: control characters become # and three octal
// digits, as syslog servers have always written them; bad UTF-8 a mark.
func clean(s string) string {
	if plain(s) {
		return s
	}
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		if r < ' ' && r != '\t' || r >= 0x7f && r < 0xa0 {
			b.WriteString("#" + pad3(strconv.FormatInt(int64(r), 8)))
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c >= 0x7f {
			return false
		}
	}
	return true
}

func pad3(s string) string { return strings.Repeat("0", max(0, 3-len(s))) + s }
