package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/rexcarcer/rexcarcer/api"
)

func TestFlagsMayStandAnywhere(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ in, want string }{
		{"logs web-1 -f", "logs --follow -- web-1"},
		{"-o json ps", "ps --output json"},
		{"jail -q ls", "jail ls --quiet"},
		{"exec -it web -- ls -l", "exec --interactive --tty -- web ls -l"},
		{"exec web -it -- ls -l", "exec --interactive --tty -- web ls -l"},
		{"exec web ls -l -- x", "exec -- web ls -l -- x"},
		{"jail exec web -- -x", "jail exec -- web -x"},
		{"apply c.hcl --wait=none -var a=b -var c=d,e", "apply --wait=none --var a=b --var c=d,e -- c.hcl"},
		{"apply - --yes", "apply --yes -- -"},
		{"logs -- -f", "logs -- -f"},
		{"--help", "--help"},
		{"logs web --help", "logs --help -- web"},
	} {
		got, err := arrange(newApp(testless()), strings.Fields(tc.in))
		if err != nil || strings.Join(got, " ") != tc.want {
			t.Errorf("%s: got %q, %v; want %q", tc.in, strings.Join(got, " "), err, tc.want)
		}
	}
}

func testless() *env {
	return &env{stdin: strings.NewReader(""), stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}, getenv: func(string) string { return "" }}
}

// FuzzArrange: any words give an answer; what follows "--" is never touched.
func FuzzArrange(f *testing.F) {
	f.Add("logs\x00web-1\x00-f")
	f.Add("exec\x00-it\x00x\x00--\x00-x")
	f.Add("\x00--\x00-")
	f.Fuzz(func(t *testing.T, line string) {
		words := strings.Split(line, "\x00")
		got, err := arrange(newApp(testless()), words)
		if err != nil {
			return
		}
		if i := slices.Index(words, "--"); i >= 0 {
			rest := words[i+1:]
			if len(got) < len(rest) || !slices.Equal(got[len(got)-len(rest):], rest) {
				t.Errorf("%q: the words after -- became %q", words, got)
			}
		}
	})
}

func TestTargetsAreUnambiguous(t *testing.T) {
	t.Parallel()
	rows := []api.JailRow{{Name: "web", UUID: "aaaa1111"}, {Name: "web-1", UUID: "aaaa2222"}, {Name: "db", UUID: "bbbb3333"}}
	for _, tc := range []struct {
		args string
		want string
		fail bool
	}{
		{"web", "web", false}, {"web-", "web-1", false}, {"d web", "db web", false}, {"bbbb", "db", false}, {"bbbb3333 db d", "db", false},
		{"we", "", true}, {"aaaa", "", true}, {"x", "", true}, {"", "", false},
	} {
		got, err := targets(rows, strings.Fields(tc.args))
		if strings.Join(got, " ") != tc.want || (err != nil) != tc.fail {
			t.Errorf("%q: got %q, %v; want %q, fail=%t", tc.args, got, err, tc.want, tc.fail)
		}
	}
	if _, err := targets(rows, []string{""}); err == nil {
		t.Error("an empty name means a jail")
	}
}

// TestNothingFromOthersDrivesTheTerminal: names and reasons come from the
// cluster; escape sequences in them are shown, not obeyed.
func TestNothingFromOthersDrivesTheTerminal(t *testing.T) {
	t.Parallel()
	if got := clean("a\x1b[31mb\nc\u009bd\x00"); got != "a?[31mb?c?d?" {
		t.Errorf("got %q", got)
	}
}

func TestSizesForPeople(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 3 << 20: "3.0 MiB", 5 << 40: "5.0 TiB"} {
		if got := size(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
}
