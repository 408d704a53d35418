package netd

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// crashWish is what a child process of these tests does until it kills itself at its KillAt'th step.
type crashWish struct {
	Options Options
	Config  Config
	Attach  []NSConfig
	Detach  []string
	KillAt  int
}

func TestMain(m *testing.M) {
	if wish := os.Getenv("NETD_TEST_CRASH"); wish != "" {
		os.Exit(crashChild(wish))
	}
	os.Exit(m.Run())
}

func crashChild(text string) int {
	var c crashWish
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		panic(err)
	}
	c.Options.Runner = run.Real{}
	d, err := newLinux(c.Options)
	if err != nil {
		panic(err)
	}
	steps := 0
	d.step = func(string) {
		if steps++; steps == c.KillAt {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // the signal is on its way
		}
	}
	ctx := context.Background()
	err = d.Set(ctx, c.Config)
	for _, a := range c.Attach {
		_, e := d.Attach(ctx, a)
		err = errors.Join(err, e)
	}
	for _, id := range c.Detach {
		err = errors.Join(err, d.Detach(ctx, id))
	}
	if err = errors.Join(err, d.Close()); err != nil {
		os.Stderr.WriteString(err.Error())
		return 1
	}
	return 0
}

// crash runs c in a child; it says whether the child came to its end before it was killed.
func (w *world) crash(c crashWish) (finished bool) {
	w.tb.Helper()
	c.Options = Options{Instance: "t1", RunDir: w.options("t1").RunDir, HostNS: w.host}
	b, err := json.Marshal(c)
	if err != nil {
		w.tb.Fatal(err)
	}
	x := exec.Command(os.Args[0])
	x.Env = append(os.Environ(), "NETD_TEST_CRASH="+string(b))
	out, err := x.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		return false
	}
	if err != nil {
		w.tb.Fatalf("child: %v: %s", err, out)
	}
	return true
}

// Case 55 and 53: SIGKILL after every single step, then the same call of a new process.
func TestCase55KilledAtAnyStepTheSameCallConverges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.driver("t1")
	a, b := netA(), netB()
	b.Allow = []string{"alpha"}
	a.Publish = []Publish{{HostPort: 15432, Members: []netip.AddrPort{netip.MustParseAddrPort("10.66.0.3:5432")}}}
	c := crashWish{Config: Config{Networks: []Network{a, b}}, Attach: []NSConfig{
		jailWish("11111111", "alpha", "10.66.0.3"), jailWish("22222222", "beta", "10.67.0.3")}}
	for c.KillAt = 1; !w.crash(c); c.KillAt++ {
		if c.KillAt > 200 {
			t.Fatal("no end of steps")
		}
		again := c
		again.KillAt = 0
		if c.KillAt%4 == 0 && !w.crash(again) { // and sometimes the next process ends before we look
			t.Fatal("killed without being asked to")
		}
		d2 := w.open("t1")
		mustSet(t, d2, a, b)
		j1, j2 := mustAttach(t, d2, c.Attach[0]), mustAttach(t, d2, c.Attach[1])
		d2.closeReserved()
		checkWorks(t, w, j1, j2)
		// Back to nothing, so that the next round's steps are those of a first start.
		if err := d2.Teardown(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d steps", c.KillAt-1)
}

func checkWorks(t *testing.T, w *world, j1, j2 string) {
	t.Helper()
	l := w.listen(j2, "10.67.0.3:80", "beta")
	wantAnswer(t, w.ask(j1, "10.67.0.3:80"), "beta 10.66.0.3")
	l()
	l = w.listen(j1, "10.66.0.3:5432", "db")
	wantAnswer(t, w.ask(w.outside, "192.0.2.2:15432"), "db 192.0.2.1")
	l()
	l = w.listen(w.outside, "192.0.2.1:80", "out")
	wantAnswer(t, w.ask(j1, "192.0.2.1:80"), "out 192.0.2.2")
	l()
}

// Case 54: what a killed process leaves is removed by a sweep that wants none of it.
func TestCase54KilledAtAnyStepNothingIsLeftAfterTeardown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.driver("t1")
	before := w.state()
	c := crashWish{Config: Config{Networks: []Network{netA()}}, Attach: []NSConfig{jailWish("11111111", "alpha", "10.66.0.3")}, Detach: []string{"11111111"}}
	for c.KillAt = 1; !w.crash(c); c.KillAt++ {
		d := w.open("t1")
		if err := d.Teardown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if after := w.state(); after != before {
			t.Fatalf("killed at step %d, the host is not as it was: %s", c.KillAt, diff(before, after))
		}
		if _, err := os.Stat(d.o.RunDir); err == nil {
			t.Fatalf("killed at step %d, left %s: %s", c.KillAt, d.o.RunDir, strings.TrimSpace(w.sh("", "find", d.o.RunDir)))
		}
	}
	t.Logf("%d steps", c.KillAt-1)
}
