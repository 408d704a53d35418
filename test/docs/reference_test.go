package docs_test

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// rows are the lines of tables of a page, by the name in their first column.
func rows(t *testing.T, file, name string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `("+name+")` \\|(.*)$").FindAllStringSubmatch(string(text), -1) {
		if _, twice := out[m[1]]; twice {
			t.Errorf("%s: %s has two rows", file, m[1])
		}
		out[m[1]] = m[2]
	}
	return out
}

func TestEveryOptionOfTheDaemonIsInTheReference(t *testing.T) {
	t.Parallel()
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	help, err := exec.Command(filepath.Join(bin, "rexcarcer"), "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("../../cmd/rexcarcer/options.go")
	if err != nil {
		t.Fatal(err)
	}
	inFile := map[string]bool{}
	for _, m := range regexp.MustCompile(`hcl:"([a-z_]+),optional"`).FindAllStringSubmatch(string(source), -1) {
		inFile[m[1]] = true
	}
	told := rows(t, "../../docs/reference/rexcarcer.md", "-[a-z-]+")
	flags := regexp.MustCompile(`(?m)^   --([a-z-]+)[ ,].*\[\$(\w+)\]$`).FindAllStringSubmatch(string(help), -1)
	if len(flags) < 10 {
		t.Fatalf("found %d flags in:\n%s", len(flags), help)
	}
	for _, f := range flags {
		row, ok := told["-"+f[1]]
		if !ok {
			t.Errorf("docs/reference/rexcarcer.md has no row for the flag -%s", f[1])
			continue
		}
		delete(told, "-"+f[1])
		column := strings.Split(row, "|")
		if got := strings.Trim(column[0], " `"); got != f[2] {
			t.Errorf("row of -%s: the variable is %q, the daemon reads %q", f[1], got, f[2])
		}
		key := strings.ReplaceAll(f[1], "-", "_")
		if inFile[key+"s"] {
			key += "s"
		}
		want := ""
		if inFile[key] {
			want = key
			delete(inFile, key)
		}
		if got := strings.Trim(column[1], " `"); got != want {
			t.Errorf("row of -%s: in a file it is %q, want %q", f[1], got, want)
		}
	}
	for name := range told {
		t.Errorf("docs/reference/rexcarcer.md tells of %s, which the daemon does not know", name)
	}
	for key := range inFile {
		t.Errorf("docs/reference/rexcarcer.md does not tell of %s in a file", key)
	}
}

// TestEveryMetricIsInTheReference compares with the sources, where also those
// are that wait for their first value, and with a daemon, for their types.
func TestEveryMetricIsInTheReference(t *testing.T) {
	t.Parallel()
	const page = "../../docs/reference/metrics.md"
	told := rows(t, page, "rexcarcer_[a-z_]+")
	for name := range metricsInSources(t) {
		if _, ok := told[name]; !ok {
			t.Errorf("%s has no row for %s", page, name)
		}
	}
	known := metricsInSources(t)
	for name := range told {
		if !known[name] {
			t.Errorf("%s tells of %s, which is nowhere in the code", page, name)
		}
	}
	shown := metricsOfDaemon(t)
	for name, kind := range shown {
		if row, ok := told[name]; ok && strings.Trim(strings.SplitN(row, "|", 2)[0], " ") != kind {
			t.Errorf("%s: %s is a %s", page, name, kind)
		}
	}
	if len(shown) < 10 {
		t.Errorf("the daemon shows only %v", slices.Sorted(maps.Keys(shown)))
	}
}

func metricsInSources(t *testing.T) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	name := regexp.MustCompile(`"(rexcarcer_[a-z]+_[a-z_]*[a-z])"`)
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "test" || d.Name() == "testdata" || d.Name() != ".." && strings.HasPrefix(d.Name(), ".")) && path != "../.." {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		for _, m := range name.FindAllStringSubmatch(string(text), -1) {
			out[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// metricsOfDaemon starts one on the simulated runtime and returns its metrics
// with their types.
func metricsOfDaemon(t *testing.T) map[string]string {
	t.Helper()
	s := newSession(t, page{})
	s.startDaemon(t, step{command: "rexcarcer -dev -runtime=sim"})
	url := s.replace.Replace("http://127.0.0.1:7373/metrics")
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatal(fmt.Errorf("%s: %s: %w", url, answer.Status, err))
	}
	out := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (rexcarcer_\S+) (\S+)$`).FindAllStringSubmatch(string(text), -1) {
		out[m[1]] = m[2]
	}
	return out
}

// TestLinksBetweenPagesLeadSomewhere covers every Markdown file.
func TestLinksBetweenPagesLeadSomewhere(t *testing.T) {
	t.Parallel()
	pages := []string{"../../README.md", "../../CHANGELOG.md"}
	for _, pattern := range []string{"../../docs/*.md", "../../docs/*/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, found...)
	}
	code := regexp.MustCompile("(?s)```.*?```|`[^`\n]*`")
	link := regexp.MustCompile(`\]\(([^)#\s]+)[^)]*\)`)
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(string(text), ""), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s: the link to %s leads nowhere", page, m[1])
			}
		}
	}
}
