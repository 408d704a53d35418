package hostagent

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/internal/stage"
	"github.com/rexcarcer/rexcarcer/netd"
	"github.com/rexcarcer/rexcarcer/netd/mesh"
	"github.com/rexcarcer/rexcarcer/spec"
)

func publicKey(n int) string {
	return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{byte(n)}, 32))
}

// overlaid is a cluster of three hosts with an end each, and jails in a network of the overlay and in one without.
func overlaid(tb interface{ Fatal(...any) }) *stage.Stage {
	st := stage.New()
	for i := range 3 {
		h := fmt.Sprintf("h%d", i+1)
		st.AddHost(h, 64, 64<<30, nil)
		st.Must(fsm.ReportOverlay{Host: fsm.HostID(h), Key: publicKey(i + 1), Endpoint: fmt.Sprintf("192.0.2.%d:51820", i+1)})
	}
	w, err := stage.ParseWish("demo", "web count=4 net=lan image=x\nown count=2 net=alone image=x\n")
	if err != nil {
		tb.Fatal(err)
	}
	for i := range w.Networks {
		if w.Networks[i].Name == "alone" {
			w.Networks[i].Overlay = spec.OverlayNone
		} else {
			w.Networks[i].Subnet6 = netip.MustParsePrefix("fd00:66::/64")
		}
	}
	st.Must(fsm.ApplyWish{Wish: w})
	st.Build("x")
	return st
}

// TestOverlayFollowsTheState: whatever happens to jails and hosts, each address is behind the one host that runs it.
func TestOverlayFollowsTheState(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		st := overlaid(rt)
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			j := fsm.JailName(rapid.SampledFrom([]string{"web-1", "web-2", "web-3", "web-4", "own-1", "own-2"}).Draw(rt, "jail"))
			h := fsm.HostID(rapid.SampledFrom([]string{"h1", "h2", "h3"}).Draw(rt, "host"))
			var cmd fsm.Command
			switch rapid.SampledFrom([]string{"place", "place", "stop", "agents", "lost", "alive", "key", "remove"}).Draw(rt, "what") {
			case "place":
				cmd = fsm.PlaceJail{Jail: j, Host: h, Seq: st.S.NextSeq(j), Why: "test"}
			case "stop":
				cmd = fsm.StopRun{Jail: j, Seq: st.S.NextSeq(j) - 1, Why: "test"}
			case "agents":
				st.Agents()
				continue
			case "lost":
				cmd = fsm.MarkHost{Host: h, State: fsm.HostLost}
			case "alive":
				cmd = fsm.MarkHost{Host: h, State: fsm.HostAlive}
			case "key":
				k := rapid.IntRange(1, 9).Draw(rt, "key")
				cmd = fsm.ReportOverlay{Host: h, Key: publicKey(k), Next: publicKey(k + 10), Endpoint: "192.0.2.9:51820"}
			case "remove":
				cmd = fsm.RemoveHost{Host: h, Why: "test"}
			}
			_, _ = st.Do(cmd) // what is refused changes nothing
			for _, host := range []fsm.HostID{"h1", "h2", "h3"} {
				checkOverlayOf(rt, st.S, host)
			}
		}
	})
}

// checkOverlayOf compares OverlayOf with what the State says, found in another way: from the jails, not from the hosts.
func checkOverlayOf(rt *rapid.T, s *fsm.State, host fsm.HostID) {
	got := OverlayOf(s, host)
	if _, ok := s.Hosts.Get(string(host)); !ok {
		if len(got.Peers)+len(got.Remote) > 0 {
			rt.Fatalf("%s was removed and has %+v", host, got)
		}
		return
	}
	want := map[netip.Addr]string{} // address -> key of its host
	var remote []netd.Remote
	for _, h := range s.Hosts.All {
		if h.ID != host {
			four, six := h.Overlay.Addr(), h.Overlay.Addr6()
			want[four], want[six] = h.Overlay.Key, h.Overlay.Key
		}
	}
	for name, j := range s.Jails.All {
		r := s.LiveRun(fsm.JailName(name))
		if r == nil || r.Host == host || j.Addrs[0].Network != "lan" {
			continue
		}
		h, _ := s.Hosts.Get(string(r.Host))
		for _, a := range []netip.Addr{j.Addrs[0].Addr, j.Addrs[0].Addr6} {
			want[a] = h.Overlay.Key
			remote = append(remote, netd.Remote{Network: "lan", Addr: a})
		}
	}
	slices.SortFunc(remote, func(a, b netd.Remote) int { return a.Addr.Compare(b.Addr) })
	if !slices.Equal(got.Remote, remote) {
		rt.Fatalf("%s has ways to %v, want %v", host, got.Remote, remote)
	}
	for _, p := range got.Peers {
		if !slices.IsSortedFunc(p.Allowed, netip.Addr.Compare) {
			rt.Fatalf("addresses of %s are not sorted: %v", p.Name, p.Allowed)
		}
		for _, a := range p.Allowed {
			if want[a] != p.Key {
				rt.Fatalf("on %s the address %v is behind %s, want %s", host, a, p.Key, want[a])
			}
			delete(want, a)
		}
	}
	if len(want) > 0 {
		rt.Fatalf("on %s nobody has %v", host, want)
	}
}

func TestMeshedNetworksHaveTheirMTUBeforeThereIsAnotherHost(t *testing.T) {
	t.Parallel()
	st := overlaid(t)
	conf := &OverlayConfig{Device: &fakeDevice{}, MTU: 1420, VLANNIC: "em0"}
	find := func(s *fsm.State, conf *OverlayConfig) map[string]netd.Network {
		c := NetworksOf(s)
		carry(s, "h1", conf, &c)
		out := map[string]netd.Network{}
		for _, n := range c.Networks {
			out[n.Name] = n
		}
		return out
	}
	nets := find(st.S, conf)
	if n := nets["lan"]; n.MTU != 1420 || !n.Meshed {
		t.Errorf("lan has MTU %d, meshed %v", n.MTU, n.Meshed)
	}
	if n := nets["alone"]; n.MTU != 0 || n.Meshed {
		t.Errorf("alone has MTU %d, meshed %v", n.MTU, n.Meshed)
	}
	for _, h := range []fsm.HostID{"h2", "h3"} {
		st.Must(fsm.RemoveHost{Host: h, Force: true})
	}
	if n := find(st.S, conf)["lan"]; n.MTU != 1420 || n.Meshed {
		t.Errorf("without another host lan has MTU %d, meshed %v", n.MTU, n.Meshed)
	}
	if n := find(st.S, &OverlayConfig{})["lan"]; n.MTU != 0 || n.Meshed {
		t.Errorf("without an overlay lan has MTU %d, meshed %v", n.MTU, n.Meshed)
	}
}

// fakeDevice remembers what it was told last.
type fakeDevice struct {
	mu   sync.Mutex
	last mesh.Config
	sets int
}

func (f *fakeDevice) Set(_ context.Context, c mesh.Config) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last, f.sets = c, f.sets+1
	return nil
}
func (f *fakeDevice) Device() string { return "rw0000000a0" }
func (f *fakeDevice) Alive() bool    { return true }
func (f *fakeDevice) Kind() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.last.Peers) == 0 {
		return ""
	}
	return mesh.KindUserspace
}

// stageLog is a Log over a stage.
type stageLog struct {
	mu      sync.Mutex
	st      *stage.Stage
	changed chan struct{}
}

func (l *stageLog) State() *fsm.State { l.mu.Lock(); defer l.mu.Unlock(); return l.st.S }
func (l *stageLog) Watch() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

func (l *stageLog) Wait(context.Context, func(*fsm.State) bool) (*fsm.State, error) {
	return l.State(), nil
}

func (l *stageLog) Propose(_ context.Context, _ string, cmd fsm.Command) (fsm.Applied, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := l.st.Do(cmd)
	return fsm.Applied{}, err
}

func overlayAgent(t *testing.T, l *stageLog, dev *fakeDevice, now func() time.Time) *overlay {
	t.Helper()
	a := &Agent{c: Config{Host: "h1", Dir: t.TempDir(), Cluster: l, Nets: &netd.Sim{}, Random: rand.Reader, Clock: now, Log: slog.New(slog.DiscardHandler),
		Overlay: &OverlayConfig{Device: dev, Port: 51820, Endpoint: "192.0.2.1:51820", MTU: 1420, Settle: 3 * time.Second}}}
	o, err := newOverlay(a)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestKeyIsReplacedInSteps(t *testing.T) {
	t.Parallel()
	l, dev, now := &stageLog{st: overlaid(t)}, &fakeDevice{}, time.Unix(1_800_000_000, 0)
	o := overlayAgent(t, l, dev, func() time.Time { return now })
	ctx := t.Context()
	step := func() *fsm.Overlay {
		t.Helper()
		if _, err := o.publish(ctx, l.State()); err != nil {
			t.Fatal(err)
		}
		if _, err := o.pass(ctx, l.State(), true); err != nil {
			t.Fatal(err)
		}
		h, _ := l.State().Hosts.Get("h1")
		if got := dev.last.Private.Public().String(); got != h.Overlay.Key {
			t.Fatalf("the device has the key %s, the others know %s", got, h.Overlay.Key)
		}
		return h.Overlay
	}
	first := step() // the log had a key that this host does not have any more
	info, err := os.Stat(overlayFile(o.a.c.Dir))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file of keys: %v %v", info, err)
	}
	if step(); step().Key != first.Key {
		t.Error("the key changed though nobody asked")
	}
	l.st.Must(fsm.RekeyHost{Host: "h1"})
	told := step()
	if told.Key != first.Key || told.Next == "" {
		t.Fatalf("after the wish: %+v", told)
	}
	// Killed here, another agent goes on with the same keys.
	again := overlayAgent(t, l, dev, o.a.c.Clock)
	again.a.c.Dir = o.a.c.Dir
	if again.keys, err = openOverlayKeys(o.a.c.Dir, rand.Reader); err != nil {
		t.Fatal(err)
	}
	o = again
	if got := step(); got.Key != first.Key || got.Next != told.Next {
		t.Fatalf("before others can know the next key: %+v", got)
	}
	now = now.Add(4 * time.Second)
	if got := step(); got.Key != told.Next || got.Next != "" || got.Rekey {
		t.Fatalf("after it has settled: %+v", got)
	}
	if got := step(); got.Key != told.Next || o.keys.next() != "" {
		t.Fatalf("at the end: %+v", got)
	}
	// By its age.
	o.conf.RekeyEvery = time.Hour
	if got := step(); got.Next == "" { // the stage's clock is far behind
		t.Errorf("an old key is not replaced: %+v", got)
	}
}

func TestWithoutAnotherHostThereIsNoDevice(t *testing.T) {
	t.Parallel()
	st := stage.New()
	st.AddHost("h1", 4, 4<<30, nil)
	l, dev := &stageLog{st: st}, &fakeDevice{}
	o := overlayAgent(t, l, dev, time.Now)
	if _, err := o.publish(t.Context(), l.State()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := o.pass(t.Context(), l.State(), false); err != nil {
			t.Fatal(err)
		}
	}
	if dev.sets != 1 || len(dev.last.Peers) > 0 {
		t.Errorf("told %d times, last %+v", dev.sets, dev.last)
	}
}

func TestDamagedKeysAreRefusedInWords(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, text := range []string{"", "{}", `{"key":"x"}`, "\x00"} {
		if err := os.WriteFile(overlayFile(dir), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if k, err := openOverlayKeys(dir, rand.Reader); err == nil {
			t.Errorf("%q was read as %v", text, k)
		}
	}
}
