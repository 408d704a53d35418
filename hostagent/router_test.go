package hostagent

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/rexcarcer/rexcarcer/jail"
	"github.com/rexcarcer/rexcarcer/netd"
)

func routerAgent(t *testing.T, runtime string) (*Agent, netd.Network) {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "daemon")
	if err := os.WriteFile(binary, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	nets := &netd.Sim{}
	n := netd.Network{Name: "alpha", ID: "aaaa0001", Subnet: netip.MustParsePrefix("10.66.0.0/24")}
	if err := nets.Set(t.Context(), netd.Config{Networks: []netd.Network{n}}); err != nil {
		t.Fatal(err)
	}
	return &Agent{c: Config{Runtime: runtime, Dir: filepath.Join(dir, "data"), RunDir: filepath.Join(dir, "run"), LogDir: dir, Nets: nets,
		Jails: jail.NewSim(jail.SimConfig{}), Router: &RouterConfig{Binary: binary, Build: "1"}}}, n
}

func TestRouterUnderJailHasACopyOfTheBinaryAndARootOfItsOwn(t *testing.T) {
	t.Parallel()
	a, n := routerAgent(t, runtimeJail)
	for _, content := range []string{"one", "two"} { // a new daemon brings a new binary
		if err := os.WriteFile(a.c.Router.Binary, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		spec, err := a.routerSpec(n)
		if err != nil {
			t.Fatal(err)
		}
		if spec.Root != filepath.Join(a.c.Dir, "routers", n.ID) || len(spec.Mounts) != 1 || spec.Mounts[0].Target != "/run/net" {
			t.Errorf("got root %s and mounts %v, want a root of its own and the sockets alone", spec.Root, spec.Mounts)
		}
		if err := a.startRouter(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
		copied := filepath.Join(spec.Root, "rexcarcer")
		got, err := os.ReadFile(copied)
		if err != nil || string(got) != content {
			t.Errorf("got %q, %v, want %q", got, err, content)
		}
		info, err := os.Stat(copied)
		if err != nil || info.Mode().Perm() != 0o555 {
			t.Errorf("got %v, %v, want a program that can be executed", info, err)
		}
	}
	a.c.Router.Binary += "-gone"
	spec, err := a.routerSpec(n)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.startRouter(t.Context(), spec); err == nil {
		t.Error("a router was started without its binary")
	}
}

func TestRouterOnLinuxHasTheBinaryMounted(t *testing.T) {
	t.Parallel()
	a, n := routerAgent(t, "")
	spec, err := a.routerSpec(n)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(spec.Mounts, jail.Mount{Source: a.c.Router.Binary, Target: "/rexcarcer", ReadOnly: true}) {
		t.Errorf("got %v", spec.Mounts)
	}
	if err := a.startRouter(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
}
