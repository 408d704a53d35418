package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/rexcarcer/rexcarcer/internal/testenv"
)

// TestAClusterSurvivesWhatBreaksMachines does each kind of fault once; `make faults` does them all, and often. How
// long a cluster needs is judged there alone: here other tests have the processor too.
func TestAClusterSurvivesWhatBreaksMachines(t *testing.T) {
	t.Parallel()
	testenv.RequireRoot(t)
	for _, tool := range []string{"mkfs.ext4", "fsfreeze", "nsenter"} {
		testenv.RequireTool(t, tool)
	}
	for _, device := range []string{"/dev/net/tun", "/dev/loop-control"} {
		_, err := os.Stat(device)
		testenv.Require(t, err == nil, "needs "+device)
	}
	binary := daemon(t)
	machines, wire := short()
	for name, list := range map[string][]fault{"Machines": machines, "Wire": wire} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			survive(t, binary, list)
		})
	}
}

func survive(t *testing.T, binary string, list []fault) {
	if len(list) < 5 {
		t.Fatalf("only %d faults are known by their names", len(list))
	}
	l, err := newLab(t.Context(), t.TempDir(), binary, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if t.Failed() {
			var b strings.Builder
			l.tell(&b)
			t.Log(b.String())
		}
		if err := l.close(); err != nil {
			t.Error(err)
		}
	}()
	for _, f := range list {
		r, err := l.do(t.Context(), f, settings{clients: 4, pace: 20 * time.Millisecond, short: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d acknowledged, %d unknown, again after %s", r.name, r.acked, r.unknown, spread(r.again))
	}
}

// daemon is what the Makefile built, or is built now.
func daemon(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../../bin/rexcarcer")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		return path
	}
	path = filepath.Join(t.TempDir(), "rexcarcer")
	build := exec.Command("go", "build", "-buildvcs=false", "-tags=hashicorpmetrics", "-o", path, "../../cmd/rexcarcer")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build rexcarcer: %v\n%s", err, out)
	}
	return path
}

// TestTheOracleSeesWhatIsWrong: an oracle that finds nothing proves nothing.
func TestTheOracleSeesWhatIsWrong(t *testing.T) {
	t.Parallel()
	write := func(value string, call, end int64) porcupine.Operation {
		return porcupine.Operation{Input: op{"k", true, value}, Call: call, Return: end}
	}
	read := func(value string, call, end int64) porcupine.Operation {
		return porcupine.Operation{Input: op{key: "k"}, Output: value, Call: call, Return: end}
	}
	for name, c := range map[string]struct {
		answered, unknown []porcupine.Operation
		fine              bool
	}{
		"one after the other":                 {[]porcupine.Operation{write("a", 0, 1), read("a", 2, 3), write("b", 4, 5), read("b", 6, 7)}, nil, true},
		"a stale read":                        {[]porcupine.Operation{write("a", 0, 1), write("b", 2, 3), read("a", 4, 5)}, nil, false},
		"a lost write":                        {[]porcupine.Operation{write("a", 0, 1), read("", 2, 3)}, nil, false},
		"at once, in either order":            {[]porcupine.Operation{write("a", 0, 3), write("b", 0, 3), read("a", 4, 5)}, nil, true},
		"back and forth":                      {[]porcupine.Operation{write("a", 0, 3), write("b", 0, 3), read("a", 4, 5), read("b", 6, 7)}, nil, false},
		"an unknown write that came late":     {[]porcupine.Operation{write("a", 0, 1), read("a", 4, 5), read("b", 6, 7)}, []porcupine.Operation{write("b", 2, 3)}, true},
		"an unknown write that never came":    {[]porcupine.Operation{write("a", 0, 1), read("a", 4, 5)}, []porcupine.Operation{write("b", 2, 3)}, true},
		"an unknown write that came and went": {[]porcupine.Operation{write("a", 0, 1), read("b", 4, 5), read("a", 6, 7)}, []porcupine.Operation{write("b", 2, 3)}, false},
	} {
		o := &load{history: c.answered, unknown: c.unknown}
		if got := porcupine.CheckOperations(model, o.whole()); got != c.fine {
			t.Errorf("%s: linearizable is %t, want %t", name, got, c.fine)
		}
	}
}

// A wire that is cut in one direction carries the other.
func TestTheWireIsCutInOneDirection(t *testing.T) {
	t.Parallel()
	w := newWire()
	ports := map[string]*port{}
	for i, name := range []string{"a", "b", "c"} {
		p := &port{host: name, mac: [6]byte{2, 0, 0, 0, 0, byte(i)}, out: make(chan frame, 8)}
		ports[name], w.ports[name] = p, p
	}
	send := func(from, to string) string {
		mac := ports[to].mac
		w.forward(ports[from], append(mac[:], make([]byte, 8)...))
		got := ""
		for _, name := range []string{"a", "b", "c"} {
			if len(ports[name].out) > 0 {
				<-ports[name].out
				got += name
			}
		}
		return got
	}
	w.oneWay(rule{loss: 1}, "a", "b")
	for _, c := range []struct{ from, to, want string }{{"a", "b", ""}, {"b", "a", "a"}, {"a", "c", "c"}, {"c", "b", "b"}} {
		if got := send(c.from, c.to); got != c.want {
			t.Errorf("%s to %s reached %q, want %q", c.from, c.to, got, c.want)
		}
	}
	w.heal()
	if got := send("a", "b"); got != "b" {
		t.Errorf("after the cut a to b reached %q", fmt.Sprint(got))
	}
}
