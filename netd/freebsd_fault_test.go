package netd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// failing lets the n-th command fail, before it does anything.
type failing struct {
	run.Runner
	n int
}

func (f *failing) Run(ctx context.Context, c run.Cmd) (run.Result, error) {
	if f.n--; f.n == 0 {
		return run.Result{RC: 1}, &run.Error{Argv: c.Argv, RC: 1, Stderr: "boom", Err: errors.New("exit status 1")}
	}
	return f.Runner.Run(ctx, c)
}

// TestFreeBSDTellsWhichCommandFailedAndGoesOnFromThere: every command of a life fails once. The error holds what it said, and
// the next try converges.
func TestFreeBSDTellsWhichCommandFailedAndGoesOnFromThere(t *testing.T) {
	t.Parallel()
	a, b := bsdNet(0), bsdNet(1)
	a.NAT, b.Allow, a.MTU = true, []string{"a"}, 1420
	a.Subnet6, b.Subnet6 = netip.MustParsePrefix("fd00:60::/64"), netip.MustParsePrefix("fd00:61::/64")
	a.Publish = []Publish{{HostPort: 80, Members: []netip.AddrPort{netip.MustParseAddrPort("10.60.0.7:8080")}}}
	first := bsdWish{nets: []Network{a, b}, jails: []NSConfig{{ID: "99aabbcc", Name: "web", Ports: []Port{
		{Network: "a", Addr: netip.MustParseAddr("10.60.0.7"), Addr6: netip.MustParseAddr("fd00:60::7")}, {Network: "b", NIC: 1, Addr: netip.MustParseAddr("10.61.0.7")}}}}}
	a2 := a
	a2.Publish = []Publish{{HostPort: 80, Members: []netip.AddrPort{netip.MustParseAddrPort("10.60.0.8:8080")}}}
	a2.MTU = 0
	second := bsdWish{nets: []Network{a2}, jails: []NSConfig{{ID: "99aabbcc", Name: "web", Ports: []Port{{Network: "a", Addr: netip.MustParseAddr("10.60.0.9")}}}}}
	life := func(w *bsdWorld) error {
		ctx := context.Background()
		for _, wish := range []bsdWish{first, second} {
			if err := w.make(t, wish); err != nil {
				return err
			}
			if _, err := w.d.Show(ctx, "a"); err != nil {
				return err
			}
			if err := w.d.Check(ctx, Config{Networks: wish.nets}); err != nil {
				return err
			}
		}
		if err := w.d.Probe(ctx); err != nil {
			return err
		}
		if _, err := w.d.List(ctx); err != nil {
			return err
		}
		return w.d.Teardown(ctx)
	}
	for n := 1; ; n++ {
		w := newBSD(t)
		w.host.Net.HostRules(adminRules)
		f := &failing{Runner: w.host, n: n}
		w.d.o.Runner = f
		err := life(w)
		if f.n > 0 {
			if n < 150 || err != nil {
				t.Fatalf("%d commands, %v: want a whole life", n, err)
			}
			return
		}
		// What only helps is not told: the release, the settings of bridges, the inside of a jail that goes.
		if err != nil && !strings.Contains(err.Error(), "boom") && !strings.Contains(err.Error(), "is 1") && !strings.Contains(err.Error(), "run the daemon on the host") &&
			!strings.Contains(err.Error(), "VIMAGE") {
			t.Fatalf("command %d: got %v, want what it said", n, err)
		}
		if err := w.make(t, first); err != nil {
			t.Fatalf("command %d failed, and then: %v", n, err)
		}
		if got, want := canonical(w.host.State()), clean(t, first); strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(want), " ") {
			t.Fatalf("command %d failed: got\n%s\nwant\n%s", n, got, want)
		}
	}
}

func TestFreeBSDRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	ok := Options{Instance: "t1", RunDir: "/var/run/rexcarcer/t1"}
	if d, err := NewFreeBSD(ok); err != nil || d.Close() != nil {
		t.Errorf("got %v", err)
	}
	reg := prometheus.NewRegistry()
	ok.Metrics = reg
	if _, err := NewFreeBSD(ok); err != nil {
		t.Error(err)
	}
	for name, o := range map[string]Options{
		"metrics twice": ok,
		"instance":      {Instance: "T 1", RunDir: "/x"},
		"run directory": {Instance: "t1", RunDir: "x"},
		"namespace":     {Instance: "t1", RunDir: "/x", HostNS: "/proc/self/ns/net"},
		"range":         {Instance: "t1", RunDir: "/x", LinkRange: netip.MustParsePrefix("fd00::/64")},
	} {
		if _, err := NewFreeBSD(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	w := newBSD(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := w.d.Attach(ctx, NSConfig{ID: "99aabbcc"})
	for what, err := range map[string]error{
		"set": w.d.Set(ctx, Config{}), "check": w.d.Check(ctx, Config{}), "attach": err, "detach": w.d.Detach(ctx, "99aabbcc"),
		"sweep": w.d.Sweep(ctx, nil), "teardown": w.d.Teardown(ctx),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, want that it was cancelled", what, err)
		}
	}
	if err := w.d.Detach(t.Context(), "../etc"); err == nil {
		t.Error("detached what is no jail")
	}
	if _, err := w.d.Show(t.Context(), "nosuch"); err == nil {
		t.Error("a network that was not set is shown")
	}
	if _, err := w.d.RouterNS("nosuch"); err == nil {
		t.Error("a network that was not set has a router")
	}
	w.d.root = false
	if err := w.d.Probe(t.Context()); err == nil || !strings.Contains(err.Error(), "root") {
		t.Errorf("got %v, want that it needs root", err)
	}
}

func TestFreeBSDProbeSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"kern.features.vimage": "VIMAGE", "security.jail.jailed": "this is a jail"} {
		w := newBSD(t)
		w.host.SetSysctl(name, "")
		if err := w.d.Probe(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestFreeBSDShowsWhatIsNotAsItShallBe(t *testing.T) {
	t.Parallel()
	w := newBSD(t)
	a := bsdNet(0)
	if err := w.make(t, bsdWish{nets: []Network{a}, jails: []NSConfig{{ID: "99aabbcc", Name: "web", Ports: []Port{{Network: "a", Addr: netip.MustParseAddr("10.60.0.7")}}}}}); err != nil {
		t.Fatal(err)
	}
	w.host.Net.Stray("tap7", "theirs")
	if _, err := w.host.Run(t.Context(), run.Cmd{Argv: []string{"ifconfig", bridgeName(a.ID), "addm", "tap7"}}); err != nil {
		t.Fatal(err)
	}
	v, err := w.d.Show(t.Context(), "a")
	if err != nil || fmt.Sprint(v.Foreign) != "[tap7]" || len(v.Ports) != 1 || fmt.Sprint(v.Router) != "[10.60.0.1]" {
		t.Errorf("got %+v, %v", v, err)
	}
	w.host.Net.Destroy(routerPort(a.ID))
	if _, err := w.d.Show(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "is gone") {
		t.Errorf("got %v, want that the router's interface is gone", err)
	}
	w.host.Net.Destroy(bridgeName(a.ID))
	if _, err := w.d.Show(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "is gone") {
		t.Errorf("got %v, want that the bridge is gone", err)
	}
}

func TestFreeBSDTellsThatAPortCannotBeHad(t *testing.T) {
	t.Parallel()
	w := newBSD(t)
	w.d.relays.bind = func(Publish) (io.Closer, error) { return nil, errors.New("no sockets today") }
	n := bsdNet(0)
	n.Publish = []Publish{{HostPort: 80, Proto: "tcp"}}
	for what, err := range map[string]error{"set": w.d.Set(t.Context(), Config{Networks: []Network{n}}), "check": w.d.Check(t.Context(), Config{Networks: []Network{n}})} {
		if found := (*NetworkError)(nil); !errors.As(err, &found) || found.Network != "a" || !strings.Contains(err.Error(), "no sockets today") {
			t.Errorf("%s: got %v", what, err)
		}
	}
}

// elsewhere is a host that has a program in another place, or nowhere.
type elsewhere struct {
	run.Runner
	program string
	nowhere bool
}

func (e elsewhere) Run(ctx context.Context, c run.Cmd) (run.Result, error) {
	if c.Argv[0] == e.program || e.nowhere && c.Argv[0] == filepath.Base(e.program) {
		return run.Result{RC: -1}, &run.Error{Argv: c.Argv, RC: -1, Err: fs.ErrNotExist}
	}
	return e.Runner.Run(ctx, c)
}

func TestFreeBSDRunsWhereToolsAreElsewhereOrMissing(t *testing.T) {
	t.Parallel()
	wish := bsdWish{nets: []Network{bsdNet(0)}}
	for _, program := range []string{ifconfigPath, netstatPath, pfctlPath, jlsPath} {
		w := newBSD(t)
		w.d.o.Runner = elsewhere{Runner: w.host, program: program}
		if err := w.d.Set(t.Context(), Config{Networks: wish.nets}); err != nil {
			t.Errorf("%s in another place: %v", program, err)
		}
	}
	w := newBSD(t)
	w.d.o.Runner = elsewhere{Runner: w.host, program: netstatPath, nowhere: true}
	if err := w.make(t, wish); err != nil || !strings.Contains(w.log.String(), "no netstat") {
		t.Errorf("got %v, %s", err, w.log.String())
	}
	w.d.o.Runner = elsewhere{Runner: w.host, program: ifconfigPath, nowhere: true}
	if err := w.make(t, wish); err == nil || !strings.Contains(err.Error(), "ifconfig -l") {
		t.Errorf("got %v, want what is missing", err)
	}
}

// leaving is a host on which a clone is made and the command fails all the same, as a create with a name that is taken does.
type leaving struct {
	run.Runner
	left bool
}

func (l *leaving) Run(ctx context.Context, c run.Cmd) (run.Result, error) {
	res, err := l.Runner.Run(ctx, c)
	if len(c.Argv) > 2 && c.Argv[2] == "create" && !l.left {
		l.left = true
		res.RC = 1
		return res, &run.Error{Argv: c.Argv, RC: 1, Stderr: "ifconfig: ioctl SIOCSIFNAME (set name): File exists", Err: errors.New("exit status 1")}
	}
	return res, err
}

func TestFreeBSDDestroysWhatAFailedCreateLeft(t *testing.T) {
	t.Parallel()
	w := newBSD(t)
	l := &leaving{Runner: w.host}
	w.d.o.Runner = l
	err := w.d.Set(t.Context(), Config{Networks: []Network{bsdNet(0)}})
	if err == nil || !strings.Contains(err.Error(), "File exists") || strings.Contains(w.host.State(), "host bridge") {
		t.Errorf("got %v, and\n%s", err, w.host.State())
	}
	if err := w.d.Set(t.Context(), Config{Networks: []Network{bsdNet(0)}}); err != nil {
		t.Fatal(err)
	}
	l.left = false
	_, err = w.d.Attach(t.Context(), NSConfig{ID: "99aabbcc", Name: "web", Ports: []Port{{Network: "a", Addr: netip.MustParseAddr("10.60.0.7")}}})
	if err == nil || strings.Contains(w.host.State(), "host epair") || strings.Contains(w.host.State(), "rexn-") {
		t.Errorf("got %v, and\n%s", err, w.host.State())
	}
	w.d.o.Runner = run.Func(func(ctx context.Context, c run.Cmd) (run.Result, error) {
		res, err := w.host.Run(ctx, c)
		if len(c.Argv) > 2 && c.Argv[2] == "create" {
			res.Stdout = []byte("something else\n")
		}
		return res, err
	})
	if _, err := w.d.create(t.Context(), "epair", mark{Instance: "t1"}); err == nil || !strings.Contains(err.Error(), `"something else"`) {
		t.Errorf("got %v, want that the name is no name", err)
	}
}

func TestFreeBSDGivesUpOnTooManyStrangers(t *testing.T) {
	t.Parallel()
	w := newBSD(t)
	for range 12 {
		w.host.Net.Stray("rh99aabbcc0", "evil")
	}
	l, err := w.d.links(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.d.own(t.Context(), l, "rh99aabbcc0"); err == nil || !strings.Contains(err.Error(), "destroy those named rx") {
		t.Errorf("got %v, want what to do", err)
	}
}
