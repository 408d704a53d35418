package syslogd

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

var came = time.Date(2026, 11, 22, 8, 30, 0, 5e6, time.UTC)

func TestMessagesOfEachKindBecomeOneLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, raw, line, sent string }{
		{
			"RFC 5424, section 6.5, example 1", "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \uFEFF'su root' failed for lonvick on /dev/pts/8",
			"auth.crit su: 'su root' failed for lonvick on /dev/pts/8",
			"<34>1 2003-10-11T22:14:15.003000Z web.lab su - ID47 - 'su root' failed for lonvick on /dev/pts/8",
		},
		{
			"RFC 5424, example 3, with structured data", `<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 app 8710 ID47 [example@32473 iut="3" eventSource="a \"quoted\] one"][other@1] text`,
			"local4.notice app[8710]: text",
			`<165>1 2003-08-24T05:14:15.000003-07:00 web.lab app 8710 ID47 [example@32473 iut="3" eventSource="a \"quoted\] one"][other@1] text`,
		},
		{"RFC 5424 without a text", "<0>1 - - - - - -", "kern.emerg ", "<0>1 2026-11-22T08:30:00.005000Z web.lab - - - -"},
		{
			"RFC 3164, section 5.4", "<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8",
			"auth.crit su: 'su root' failed for lonvick on /dev/pts/8",
			"<34>1 2026-11-22T08:30:00.005000Z web.lab su - - - 'su root' failed for lonvick on /dev/pts/8",
		},
		{"busybox, which names no host", "<13>Nov  2 08:41:06 root: hello: world", "user.notice root: hello: world", ""},
		{"logger -p daemon.err -i", "<27>Nov 22 08:41:06 web-1 postgres[412]: FATAL:  no", "daemon.err postgres[412]: FATAL:  no", ""},
		{"rsyslog's own form", "<30>2026-11-22T09:00:00.123456+01:00 web-1 dhclient[7]: bound", "daemon.info dhclient[7]: bound", "<30>1 2026-11-22T09:00:00.123456+01:00 web.lab dhclient 7 - - bound"},
		{"an address of IPv6 as host", "<30>Nov 22 08:41:06 fd00::7 ntpd: ok", "daemon.info ntpd: ok", ""},
		{"no time", "<30>cron[9]: ran", "daemon.info cron[9]: ran", ""},
		{"no priority", "just words", "user.notice just words", ""},
		{"a URL is no tag", "<13>http://x/", "user.notice http://x/", ""},
		{"too high a priority", "<192>x", "user.notice <192>x", ""},
		{"broken 5424 falls back", "<13>1 yesterday h a p m - text", "user.notice 1 yesterday h a p m - text", ""},
		{"line ends and controls", "<13>a: one\ntwo\x1b[31m\r\n", "user.notice a: one#012two#033[31m", ""},
		{"bad UTF-8", "<13>a: \xff\xfe!", "user.notice a: \uFFFD!", ""},
		{"nothing", "", "user.notice ", ""},
	} {
		m := Parse([]byte(c.raw))
		want := "2026-11-22T08:30:00.005Z " + c.line + "\n"
		if got := string(m.Line(came)); got != want {
			t.Errorf("%s:\n got %q\nwant %q", c.name, got, want)
		}
		if got := string(m.Format("web.lab", came)); c.sent != "" && got != c.sent {
			t.Errorf("%s, sent on:\n got %q\nwant %q", c.name, got, c.sent)
		}
	}
}

// FuzzParse: whatever comes, it is one line of bounded length, and what is sent
// on is a message of RFC 5424 that says the same.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"<34>1 2003-10-11T22:14:15.003Z h su - ID47 - text", `<165>1 - - - - - [a@1 b="c\]"] x`, "<13>Nov  2 08:41:06 root: hello",
		"<13>Nov 22 08:41:06 host tag[1]: x", "<30>2026-11-22T09:00:00+01:00 h d[7]: b", "", "<", "<191>", "\x00\x1b\xff", "<1>1 - - - - - [x", "<13>a[: b",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		m := Parse(raw)
		line := string(m.Line(came))
		if strings.Count(line, "\n") != 1 || !strings.HasSuffix(line, "\n") || strings.ContainsAny(line, "\x00\x1b\r") || !utf8.ValidString(line) {
			t.Fatalf("%q became %q: not one clean line", raw, line)
		}
		if len(line) > 4*MaxMessage+256 {
			t.Fatalf("%d bytes became a line of %d", len(raw), len(line))
		}
		sent := m.Format("web", came)
		again := Parse(sent[:min(len(sent), MaxMessage)])
		if again.Facility != m.Facility || again.Severity != m.Severity || again.Host != "web" || !m.Time.IsZero() && again.Time.Sub(m.Time).Abs() > time.Microsecond {
			t.Fatalf("%q was sent on as %q, which says %+v, want %+v", raw, sent, again, m)
		}
		if len(sent) <= MaxMessage && again.Text != strings.TrimPrefix(clean(m.Text), "\uFEFF") && clean(again.Text) != clean(m.Text) {
			t.Fatalf("%q was sent on as %q: the text is %q, want %q", raw, sent, again.Text, clean(m.Text))
		}
	})
}

// FuzzFrames: any stream ends, and no message is too long.
func FuzzFrames(f *testing.F) {
	for _, seed := range []string{"5 hello3 abc", "<13>a\n<13>b\n", "99999999999 x", "3 a", "1", "\n\n\x00x", "0 zero"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		in := newFrames(strings.NewReader(string(stream)))
		for n := 0; ; n++ {
			raw, err := in.next()
			if err != nil {
				return
			}
			if len(raw) > MaxMessage || n > len(stream) {
				t.Fatalf("message %d of %d bytes from a stream of %d", n, len(raw), len(stream))
			}
		}
	})
}

func TestFramesOfBothKindsAreCut(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 3*MaxMessage)
	in := newFrames(strings.NewReader("5 <13>a<13>line\n\n10 two\nlines!24576 " + long + "<13>" + long + "\n<13>last"))
	for _, want := range []string{"<13>a", "<13>line", "two\nlines!", long[:MaxMessage], "<13>" + long[:MaxMessage-4], "<13>last"} {
		got, err := in.next()
		if err != nil || string(got) != want {
			t.Fatalf("got %.40q of %d bytes, %v, want %.40q of %d", got, len(got), err, want, len(want))
		}
	}
	if _, err := in.next(); err == nil {
		t.Error("the stream does not end")
	}
	for _, bad := range []string{"9x", "1048577 x", "5 abc"} {
		if _, err := newFrames(strings.NewReader(bad)).next(); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
