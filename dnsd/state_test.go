package dnsd

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

// history is a State that grows entry by entry, and a States for feeds.
type history struct {
	tb      testing.TB
	mu      sync.Mutex
	state   *fsm.State    // guarded by mu
	changed chan struct{} // guarded by mu
}

// newHistory has two networks, of which back may be reached from front, a
// host, and jails web-1, web-2 (front, service web) and db (back).
func newHistory(tb testing.TB) *history {
	tb.Helper()
	h := &history{tb: tb, state: fsm.New(), changed: make(chan struct{})}
	h.apply(fsm.Genesis{ClusterID: "demo-0000", Domain: "rex.internal"})
	h.apply(fsm.RegisterHost{Host: fsm.Host{ID: "h1", Name: "h1", Role: "server", State: fsm.HostAlive, OS: "linux", Arch: "amd64", Runtime: "sim"}})
	h.wish("web-1", "web-2")
	return h
}

func (h *history) wish(webs ...string) {
	h.tb.Helper()
	network := func(name, subnet string, allow ...string) spec.Network {
		return spec.Network{Name: name, Subnet: netip.MustParsePrefix(subnet), Allow: allow}
	}
	jail := func(name, group, network string, services ...spec.Service) spec.Jail {
		return spec.Jail{
			Name: name, Group: group, Replicas: 1, Image: "x", NICs: []spec.NIC{{Network: network}}, Services: services,
			Restart: spec.Restart{Policy: "always", Backoff: time.Second, MaxBackoff: time.Minute},
			Update:  spec.Update{MaxParallel: 1}, Stop: time.Second,
		}
	}
	w := spec.Wish{Name: "demo", Domain: "rex.internal", Networks: []spec.Network{network("back", "10.67.0.0/24", "front"), network("front", "10.66.0.0/24")}}
	w.Images = []spec.Image{{Name: "x", Key: "sha256:" + strings.Repeat("0", 64), Base: "host:/"}}
	w.Jails = append(w.Jails, jail("db", "db", "back"))
	for i, name := range webs {
		j := jail(name, "web", "front", spec.Service{Name: "web", Port: 8080})
		j.Index, j.Replicas = i+1, len(webs)
		w.Jails = append(w.Jails, j)
	}
	h.apply(fsm.ApplyWish{Wish: w})
}

// run brings jail to the phase and health with its first Run.
func (h *history) run(jail fsm.JailName, health fsm.Health) {
	h.tb.Helper()
	if r, ok := h.State().Runs.Get(string(jail)); !ok || r.Seq == 0 {
		h.apply(fsm.PlaceJail{Jail: jail, Host: "h1", Seq: 1, Why: "test"})
	}
	h.apply(fsm.ReportRun{Jail: jail, Host: "h1", Seq: 1, Phase: fsm.Running, Health: health})
}

func (h *history) apply(c fsm.Command) {
	h.tb.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	next, _, err := fsm.Apply(h.state, h.state.Index+1, fsm.Entry{V: fsm.Version, At: fsm.Time(h.state.Index+1) * 1e9, By: "test", Cmd: c}, []byte(c.Kind()))
	if err != nil {
		h.tb.Fatalf("apply %s: %v", c.Kind(), err)
	}
	h.state = next
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *history) State() *fsm.State {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state
}

func (h *history) Watch() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.changed
}

// lookup returns the answers of z for name as "TYPE data", and the rcode.
func lookup(tb testing.TB, z *Zone, name string, typ uint16) (answers []string, rcode int) {
	tb.Helper()
	h := NewHandler(nil, nil)
	h.SetZone(z)
	reply, _ := ask(tb, h, query(name, typ), inside, false)
	for _, rr := range reply.Answer {
		answers = append(answers, strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	slices.Sort(answers)
	return answers, reply.Rcode
}

func TestStateIsServed(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	for _, jail := range []fsm.JailName{"web-1", "web-2", "db"} {
		h.run(jail, fsm.HealthHealthy)
	}
	s := h.State()
	z := BuildZone(s)
	if z.Skipped != 0 || z.Records != s.Records.Len()+2 { // and the two addresses of ns
		t.Errorf("served %d, skipped %d of %d records", z.Records, z.Skipped, s.Records.Len())
	}
	if z.Serial() != uint32(s.Index) {
		t.Errorf("serial %d, want %d", z.Serial(), s.Index)
	}
	for _, r := range s.Records.All {
		answers, rcode := lookup(t, z, r.Name+".", dns.StringToType[r.Type])
		if rcode != 0 || len(answers) == 0 {
			t.Errorf("%s %s: %v, %s", r.Name, r.Type, answers, dns.RcodeToString[rcode])
		}
	}
	if got, _ := lookup(t, z, "_web._tcp.front.rex.internal.", dns.TypeSRV); !slices.Equal(got, []string{"0 1 8080 web-1.front.rex.internal.", "0 1 8080 web-2.front.rex.internal."}) {
		t.Errorf("SRV %v", got)
	}
	jail, _ := s.Jails.Get("db")
	if got, _ := lookup(t, z, fsm.ReverseName(jail.Addrs[0].Addr)+".", dns.TypePTR); !slices.Equal(got, []string{"db.back.rex.internal."}) {
		t.Errorf("PTR %v", got)
	}
}

func TestUnhealthyMemberLeavesTheService(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	var b Builder
	members := func() int {
		answers, _ := lookup(t, b.Update(h.State()), "web.front.rex.internal.", dns.TypeA)
		return len(answers)
	}
	if n := members(); n != 0 {
		t.Errorf("nothing runs: %d members", n)
	}
	h.run("web-1", fsm.HealthHealthy)
	h.run("web-2", fsm.HealthHealthy)
	if n := members(); n != 2 {
		t.Errorf("both healthy: %d members", n)
	}
	h.run("web-1", fsm.HealthUnhealthy)
	if n := members(); n != 1 {
		t.Errorf("one unhealthy: %d members", n)
	}
}

func TestRouterSeesItsNetworkAndThoseItMayReach(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	h.run("web-1", fsm.HealthHealthy)
	h.run("db", fsm.HealthHealthy)
	for _, c := range []struct {
		network, name string
		rcode         int
	}{
		{"front", "web-1.front.rex.internal.", dns.RcodeSuccess},
		{"front", "db.back.rex.internal.", dns.RcodeSuccess},
		{"back", "db.back.rex.internal.", dns.RcodeSuccess},
		{"back", "web-1.front.rex.internal.", dns.RcodeNameError},
	} {
		table := BuildTable(h.State(), c.network)
		if _, rcode := lookup(t, NewZone(&table), c.name, dns.TypeA); rcode != c.rcode {
			t.Errorf("%s from %s: %s, want %s", c.name, c.network, dns.RcodeToString[rcode], dns.RcodeToString[c.rcode])
		}
		ns, _ := lookup(t, NewZone(&table), "ns.rex.internal.", dns.TypeA)
		if network, _ := h.State().Networks.Get(c.network); !slices.Equal(ns, []string{network.Gateway.String()}) {
			t.Errorf("name server of %s is at %v, want its gateway %s", c.network, ns, network.Gateway)
		}
	}
}

func TestEntryWithoutRecordsCostsNoRepacking(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	var b Builder
	before := b.Update(h.State())
	h.apply(fsm.MarkHost{Host: "h1", State: fsm.HostDraining})
	after := b.Update(h.State())
	if after.Serial() != before.Serial()+1 {
		t.Errorf("serial %d after %d", after.Serial(), before.Serial())
	}
	if &after.names.pages[0] != &before.names.pages[0] {
		t.Error("the zone was packed again")
	}
}

func TestBuilderFollowsEveryState(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	var b Builder
	check := func(what string) {
		t.Helper()
		got, want := b.Update(h.State()), BuildZone(h.State())
		if diff := cmp.Diff(contents(want), contents(got)); diff != "" || got.Serial() != want.Serial() {
			t.Fatalf("%s: built anew (-), followed (+), serials %d and %d:\n%s", what, want.Serial(), got.Serial(), diff)
		}
	}
	check("at first")
	var webs []string
	for i := range 60 {
		webs = append(webs, fmt.Sprintf("web-%d", i+1))
	}
	h.wish(webs...)
	check("sixty jails")
	for i, web := range webs {
		h.run(fsm.JailName(web), fsm.HealthHealthy)
		if i%7 == 0 {
			h.run("web-1", []fsm.Health{fsm.HealthUnhealthy, fsm.HealthHealthy}[i%2])
		}
		if i%3 == 0 {
			check(web)
		}
	}
	h.wish(webs[:50]...)
	check("fifty jails")
	h.apply(fsm.MarkHost{Host: "h1", State: fsm.HostDraining})
	check("an entry without records")
	h.wish("web-1")
	check("one jail")
}
