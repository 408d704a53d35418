package fsm

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/rexcarcer/rexcarcer/spec"
)

const second = Time(time.Second)

// fataler is what *testing.T, *testing.B and *rapid.T have in common.
type fataler interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// log applies commands one after the other, a second apart, to a State.
type log struct {
	tb    fataler
	s     *State
	index uint64
	now   Time
	items []Item
}

func newLog(tb fataler) *log {
	tb.Helper()
	l := &log{tb: tb, s: New(), now: TimeOf(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))}
	l.must(Genesis{ClusterID: "cluster-0001", Domain: "rex.internal", CA: "PEM"})
	return l
}

func (l *log) item(c Command) Item {
	l.tb.Helper()
	l.index++
	l.now += second
	e := Entry{V: Version, ID: fmt.Sprintf("id-%d", l.index), At: l.now, By: "user/root", Cmd: c}
	raw, err := Encode(e)
	if err != nil {
		l.tb.Fatalf("encode %s: %v", c.Kind(), err)
	}
	e, err = Decode(raw) // as every replica gets it
	if err != nil {
		l.tb.Fatalf("decode %s: %v", raw, err)
	}
	return Item{l.index, e, raw}
}

func (l *log) apply(c Command) ([]Happened, error) {
	l.tb.Helper()
	item := l.item(c)
	s, events, err := Apply(l.s, item.Index, item.Entry, item.Raw)
	l.s, l.items = s, append(l.items, item)
	return events, err
}

func (l *log) must(c Command) []Happened {
	l.tb.Helper()
	events, err := l.apply(c)
	if err != nil {
		l.tb.Fatalf("index %d, %s: %v", l.index, c.Kind(), err)
	}
	return events
}

func (l *log) refused(c Command, want Code) *Refusal {
	l.tb.Helper()
	events, err := l.apply(c)
	r, ok := err.(*Refusal)
	if !ok || r.Code != want || len(events) != 0 {
		l.tb.Fatalf("index %d, %s: got %d events and %v, want a refusal with code %s", l.index, c.Kind(), len(events), err, want)
	}
	return r
}

func testKey(n int) string { return fmt.Sprintf("sha256:%064x", n) }

// testWish is n jails of group web in one network.
func testWish(name, subnet string, n int) spec.Wish {
	w := spec.Wish{
		Name:     name,
		Networks: []spec.Network{{Name: name + "-net", Subnet: netip.MustParsePrefix(subnet)}},
		Images:   []spec.Image{{Name: name + "-image", Key: testKey(1), Base: "debian:bookworm"}},
	}
	for i := range n {
		w.Jails = append(w.Jails, spec.Jail{
			Name: fmt.Sprintf("%s-web-%d", name, i+1), Group: name + "-web", Index: i + 1, Replicas: n,
			Image: name + "-image", NICs: []spec.NIC{{Network: name + "-net"}}, Command: []string{"serve"},
			Services: []spec.Service{{Name: "http", Port: 80}},
			Limits:   spec.Limits{MemoryBytes: 64 << 20, CPU: 0.1},
		})
	}
	w.Normalize()
	return w
}

func host(id string) RegisterHost {
	return RegisterHost{Host{
		ID: HostID(id), Name: "name-" + id, Role: "server", OS: "linux", Arch: "amd64", Runtime: "sim", Version: "1",
		Capacity: Resources{MilliCPU: 64000, MemoryBytes: 64 << 30},
	}}
}

// run places jail's next Run and brings it to healthy.
func (l *log) run(j JailName, h HostID) {
	l.tb.Helper()
	seq := l.s.NextSeq(j)
	l.must(PlaceJail{Jail: j, Host: h, Seq: seq, Why: "test"})
	l.must(ReportRun{Jail: j, Host: h, Seq: seq, Phase: Running, Health: HealthHealthy})
}
