package jail

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// call is one command of a transcript of FreeBSD 15.1: "$ " the line, "  | " what it printed, "  E| " its errors.
type call struct {
	line, out, err, where string
}

// transcripts reads what a running FreeBSD 15.1 printed.
func transcripts(t *testing.T) (calls []call) {
	t.Helper()
	names, err := filepath.Glob("testdata/freebsd-15.1/*.txt")
	must(t, err)
	for _, name := range names {
		raw, err := os.ReadFile(name)
		must(t, err)
		for l := range strings.Lines(string(raw)) {
			l = strings.TrimRight(l, "\n")
			switch {
			case strings.HasPrefix(l, "$ "):
				calls = append(calls, call{line: l[2:], where: filepath.Base(name)})
			case strings.HasPrefix(l, "  | ") && len(calls) > 0:
				calls[len(calls)-1].out += l[4:] + "\n"
			case strings.HasPrefix(l, "  E| ") && len(calls) > 0:
				calls[len(calls)-1].err += l[5:] + "\n"
			}
		}
	}
	return calls
}

func TestParsersReadEveryTranscriptOfFreeBSD(t *testing.T) {
	t.Parallel()
	seen := map[string]int{}
	for _, c := range transcripts(t) {
		words := strings.Fields(c.line)
		simple := !strings.ContainsAny(c.line, ";|&>`")
		switch {
		case strings.HasPrefix(c.out, `{"__version": "2", "jail-information"`) && simple:
			jails, err := parseJLS([]byte(c.out))
			hasJID := strings.Contains(c.out, `"jid"`)
			if hasJID && err != nil || hasJID && strings.Count(c.out, `"jid"`) != len(jails) {
				t.Errorf("%s: %s: got %d jails, %v", c.where, c.line, len(jails), err)
			}
			for _, j := range jails {
				if (strings.Contains(c.out, `"dying":true`) && len(jails) == 1) != j.dying {
					t.Errorf("%s: %s: dying is %v", c.where, c.line, j.dying)
				}
				if strings.Contains(c.out, `"path"`) && !filepath.IsAbs(j.path) {
					t.Errorf("%s: %s: path is %q", c.where, c.line, j.path)
				}
			}
			seen["jls"]++
		case strings.HasPrefix(c.out, `{"mount":`):
			nodes, err := parseMounts([]byte(c.out))
			if err != nil || len(nodes) != strings.Count(c.out, `"node":`) || nodes[0] != "/" {
				t.Errorf("%s: %s: %q, %v", c.where, c.line, nodes, err)
			}
			seen["mount"]++
		case len(words) == 5 && words[0] == "devfs" && words[4] == "show":
			rules, err := parseRules(c.out)
			if err != nil || len(rules) != strings.Count(c.out, "\n") {
				t.Errorf("%s: %s: %v, %v", c.where, c.line, rules, err)
			}
			seen["devfs"]++
		case len(words) == 3 && words[0] == "rctl" && words[1] == "-u" && c.err == "":
			if use := parseUsage(c.out); len(use) != 25 {
				t.Errorf("%s: %s: %d resources", c.where, c.line, len(use))
			}
			seen["rctl -u"]++
		case len(words) == 2 && words[0] == "rctl" && strings.HasPrefix(words[1], "jail:") && c.out != "":
			for _, l := range strings.Fields(c.out) {
				if !strings.HasPrefix(l, words[1]+":") {
					t.Errorf("%s: rule %q", c.where, l)
				}
			}
			seen["rctl"]++
		case strings.Contains(c.err, "RACCT/RCTL"):
			if !strings.Contains(c.err, racctOff) {
				t.Errorf("%s: %q is not known as racct off", c.where, c.err)
			}
			seen["racct off"]++
		case strings.Contains(c.err, "failed to remove rule"):
			if !strings.Contains(c.err, "No such process") {
				t.Errorf("%s: %q", c.where, c.err)
			}
			seen["rctl -r"]++
		}
	}
	t.Logf("outputs read: %v", seen)
	for _, what := range []string{"jls", "mount", "rctl -u", "rctl", "rctl -r"} {
		if seen[what] == 0 {
			t.Errorf("no output of %s was met", what)
		}
	}
}

func TestParsersRefuseWhatTheyDoNotKnow(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "{", `{"jail-information": {"jail": [{"name":"x"}]}}`, `{"jail-information": {"jail": [{"jid":"x"}]}}`} {
		if j, err := parseJLS([]byte(bad)); err == nil {
			t.Errorf("jls %q: read as %+v", bad, j)
		}
	}
	for _, good := range []string{`{"__version": "2"}`, `{"__version": "2", "jail-information": {}}`, `{"jail-information": {"jail": [{"jid":3,"dying":"true"}]}}`} {
		if _, err := parseJLS([]byte(good)); err != nil {
			t.Errorf("jls %q: %v", good, err)
		}
	}
	if _, err := parseMounts([]byte("/dev/vtbd0 / ufs")); err == nil {
		t.Error("plain mount was read")
	}
	if _, err := parseRules("x hide\n"); err == nil {
		t.Error("a rule without a number was read")
	}
}

func FuzzParseJLS(f *testing.F) {
	f.Add([]byte(`{"__version": "2", "jail-information": {"jail": [{"jid":"1","name":"web-1","dying":false, "ip4.addr": []}]}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		jails, err := parseJLS(raw)
		for _, j := range jails {
			if err == nil && j.jid < 1 {
				t.Errorf("%q: jid %d", raw, j.jid)
			}
		}
	})
}
