// Package docs_test executes the documentation: every command that README, the
// guide and the cookbook show is run, and what they say it prints is compared.
//
// Laws:
//
//   - A page is one session: its commands share a directory, variables and a
//     daemon. Where it shows the prompt of root, jails are real.
//   - A block "```hcl NAME" (any language) is a file that the reader writes.
//   - A block "```console daemon" is what runs in another terminal until the
//     page ends. Then it must end well.
//   - After a command come lines of its output, in order; "..." stands for
//     anything. A command must succeed.
//   - What cannot be run here is in exceptions, with the reason.
package docs_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rexcarcer/rexcarcer/internal/testenv"
)

// exceptions are commands that are shown and not run here.
var exceptions = map[string]string{
	"git clone https://github.com/rexcarcer/rexcarcer": "needs the Internet, and this is that checkout",
	"cd rexcarcer":   "the page begins in a directory that looks like the checkout",
	"make demo":      "test/e2e runs the demo, once: it builds Debian images",
	"make demo-down": "test/e2e runs it after the demo",
	"make test":      "this is make test",
}

// TestEveryCommandInTheDocsWorks runs page after page: they use the same
// names of networks on this machine.
func TestEveryCommandInTheDocsWorks(t *testing.T) {
	if testing.Short() {
		t.Skip("runs daemons and programs")
	}
	pages := []string{"../../README.md", "../../docs/guide.md"}
	more, err := filepath.Glob("../../docs/cookbook/*.md")
	if err != nil || len(more) == 0 {
		t.Fatalf("no cookbook pages: %v", err)
	}
	for _, file := range append(pages, more...) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".md"), func(t *testing.T) { runPage(t, file) })
	}
}

func TestExceptionsAreShownSomewhere(t *testing.T) {
	t.Parallel()
	var all strings.Builder
	files, err := filepath.Glob("../../docs/cookbook/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range append(files, "../../README.md", "../../docs/guide.md") {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	for command := range exceptions {
		if !strings.Contains(all.String(), command) {
			t.Errorf("no page shows %q any more: take it out of exceptions", command)
		}
	}
}

func runPage(t *testing.T, file string) {
	p, err := readPage(file)
	if err != nil {
		t.Fatal(err)
	}
	if p.root {
		testenv.RequireRoot(t)
		for _, tool := range []string{"runc", "nft", "busybox"} {
			testenv.RequireTool(t, tool)
		}
	}
	s := newSession(t, p)
	for _, st := range p.steps {
		switch {
		case exceptions[st.command] != "":
			t.Logf("%s:%d: %s is not run: %s", file, st.line, st.command, exceptions[st.command])
		case st.file != "":
			s.write(t, st)
		case st.daemon:
			s.startDaemon(t, st)
		default:
			s.run(t, st)
		}
	}
}

// made is where programs has put them; TestMain removes it.
var made string

// programs builds rexcarcer and rexctl once.
var programs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "rexcarcer-docs-bin-")
	if err != nil {
		return "", err
	}
	made = dir
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -X main.version=docs", "-o", dir+"/", "./cmd/rexcarcer", "./cmd/rexctl")
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false -tags=hashicorpmetrics")
	if out, err := cmd.CombinedOutput(); err != nil {
		return dir, fmt.Errorf("%w: %s", err, out)
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if made != "" {
		_ = os.RemoveAll(made)
	}
	os.Exit(code)
}

// ports are the daemon's, with what the pages call them: here each gets a
// free one, because other daemons live on this machine.
func ports(t *testing.T, pages ...int) map[int]int {
	t.Helper()
	out := map[int]int{}
	for _, p := range pages {
		port, err := testenv.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		out[p] = port
	}
	return out
}

func env(dir, run, bin string, port map[int]int) []string {
	out := append(os.Environ(),
		"HOME="+dir, "PATH="+bin+":"+os.Getenv("PATH")+":/usr/sbin:/sbin", "LC_ALL=C", "NO_COLOR=1",
		"REX_ADDR=unix://"+run+"/rexcarcer.sock",
		"REXCARCER_RUN_DIR="+run, "REXCARCER_NAME=host1",
	)
	for name, page := range map[string]int{"API": 7372, "METRICS": 7373, "DNS": 7374} {
		out = append(out, "REXCARCER_"+name+"_PORT="+strconv.Itoa(port[page]))
	}
	return out
}
