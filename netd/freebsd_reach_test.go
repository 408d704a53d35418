package netd

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// meshedBSD is a host with a meshed network and the mesh's device.
func meshedBSD(t *testing.T) (*bsdWorld, Config) {
	t.Helper()
	w := newBSD(t)
	for _, argv := range [][]string{
		{ifconfigPath, "bridge", "create", "descr", "rexcarcer:t1:mesh:device", "group", "rexcarcer"},
		{ifconfigPath, "bridge0", "name", cableBSD}, {ifconfigPath, cableBSD, "up"},
	} {
		if _, err := w.host.Run(t.Context(), run.Cmd{Argv: argv}); err != nil {
			t.Fatal(err)
		}
	}
	n := Network{Name: "alpha", ID: "aaaa0001", Subnet: netip.MustParsePrefix("10.66.0.0/24"), NAT: true, Meshed: true}
	c := Config{Networks: []Network{n}, Mesh: &Mesh{Device: cableBSD, Addr: netip.MustParseAddr("198.19.0.1"), All: netip.MustParsePrefix("198.19.0.0/17")}}
	if err := w.d.Set(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	return w, c
}

const cableBSD = "rw0000000a0"

// ways lists routes by the mesh, and what the host answers for.
func (w *bsdWorld) ways(t *testing.T) (routes, answers string) {
	t.Helper()
	all, err := w.d.routes(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	var r []string
	for _, x := range all {
		if x.Dev == cableBSD {
			r = append(r, x.Dst.Addr().String())
		}
	}
	slices.Sort(r)
	found, err := w.d.published(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var p []string
	for a := range found {
		p = append(p, a.String())
	}
	slices.Sort(p)
	return strings.Join(r, " "), strings.Join(p, " ")
}

func remotes(addrs ...string) (out []Remote) {
	for _, a := range addrs {
		out = append(out, Remote{"alpha", netip.MustParseAddr(a)})
	}
	return out
}

func TestFreeBSDReachesOtherHostsByRoutesAndPublishedEntries(t *testing.T) {
	t.Parallel()
	w, c := meshedBSD(t)
	for _, step := range []struct{ wish, want string }{
		{"10.66.0.7 10.66.0.9", "10.66.0.7 10.66.0.9"},
		{"10.66.0.7 10.66.0.9", "10.66.0.7 10.66.0.9"},
		{"10.66.0.8 10.66.0.9 fd00::1 10.9.9.9", "10.66.0.8 10.66.0.9"},
		{"", ""},
		{"10.66.0.8", "10.66.0.8"},
	} {
		if err := w.d.Reach(t.Context(), remotes(strings.Fields(step.wish)...)); err != nil {
			t.Fatal(err)
		}
		if r, p := w.ways(t); r != step.want || p != step.want {
			t.Errorf("%q: routes %q, answers %q", step.wish, r, p)
		}
	}
	// Another daemon, and no other host any more.
	w.restart(t)
	c.Mesh, c.Networks[0].Meshed = nil, false
	if err := w.d.Set(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := w.d.Reach(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, p := w.ways(t); p != "" {
		t.Errorf("the host still answers for %s", p)
	}
}

// TestFreeBSDWaysConvergeFromAnyHalf: killed after any command, the next daemon brings it to the end.
func TestFreeBSDWaysConvergeFromAnyHalf(t *testing.T) {
	t.Parallel()
	for kill := 1; kill < 12; kill++ {
		w, c := meshedBSD(t)
		if err := w.d.Reach(t.Context(), remotes("10.66.0.7")); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		w.d.o.Runner = &dying{Runner: w.host, left: kill, cancel: cancel}
		_ = w.d.Reach(ctx, remotes("10.66.0.8", "10.66.0.9"))
		cancel()
		w.restart(t)
		if err := w.d.Set(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if err := w.d.Reach(t.Context(), remotes("10.66.0.9")); err != nil {
			t.Fatalf("killed after %d commands: %v", kill, err)
		}
		if r, p := w.ways(t); r != "10.66.0.9" || p != "10.66.0.9" {
			t.Errorf("killed after %d commands: routes %q, answers %q", kill, r, p)
		}
	}
}

// dying obeys so many commands and then none.
type dying struct {
	run.Runner
	left   int
	cancel func()
}

func (d *dying) Run(ctx context.Context, c run.Cmd) (run.Result, error) {
	if d.left--; d.left < 0 {
		d.cancel()
		return run.Result{}, context.Canceled
	}
	return d.Runner.Run(ctx, c)
}

func TestFreeBSDSaysThatItHasNoVLANs(t *testing.T) {
	t.Parallel()
	w := newBSD(t)
	n := Network{Name: "alpha", ID: "aaaa0001", Subnet: netip.MustParsePrefix("10.66.0.0/24"), VLAN: 7}
	if err := w.d.Set(t.Context(), Config{Networks: []Network{n}, Trunk: "em0"}); err == nil || !strings.Contains(err.Error(), "vlan 7") {
		t.Errorf("got %v", err)
	}
}
