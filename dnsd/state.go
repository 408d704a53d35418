package dnsd

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

// BuildZone is all that s serves: what the host's own resolver answers from.
func BuildZone(s *fsm.State) *Zone {
	t := BuildTable(s, "")
	return NewZone(&t)
}

// BuildTable is what the router of network serves: the records of its own
// network and of those that its jails may reach. The empty network sees all.
func BuildTable(s *fsm.State, network string) Table {
	v := viewOf(s, network)
	return v.table(s)
}

// view is what somebody is to know, beside the records themselves.
type view struct {
	domain  string
	reverse []netip.Prefix
	ns      []netip.Addr
	visible map[string]bool // networks
}

func viewOf(s *fsm.State, network string) view {
	v := view{domain: s.Cluster.Domain, visible: map[string]bool{}}
	for name, n := range s.Networks.All {
		if network != "" && name != network && !lets(n, network) {
			continue
		}
		v.visible[name] = true
		v.reverse = append(v.reverse, n.Subnet)
		if n.Subnet6.IsValid() {
			v.reverse = append(v.reverse, n.Subnet6)
		}
		if network != "" && name != network {
			continue
		}
		if n.Gateway.IsValid() {
			v.ns = append(v.ns, n.Gateway)
		}
		if n.Gateway6.IsValid() {
			v.ns = append(v.ns, n.Gateway6)
		}
	}
	return v
}

// lets says whether jails of the network from may connect to jails of n, to
// all ports or to some.
func lets(n *fsm.Network, from string) bool {
	return slices.Contains(n.Allow, from) || slices.ContainsFunc(n.Open, func(o spec.Open) bool { return o.From == from })
}

func (v *view) equal(w *view) bool {
	return v.domain == w.domain && slices.Equal(v.reverse, w.reverse) && slices.Equal(v.ns, w.ns) && maps.Equal(v.visible, w.visible)
}

func (v *view) table(s *fsm.State) Table {
	t := Table{Domain: v.domain, Serial: uint32(s.Index), Reverse: v.reverse, NS: v.ns, Records: make([]Record, 0, s.Records.Len())}
	for r := range s.Records.Values {
		if v.visible[r.Network] {
			t.Records = append(t.Records, recordOf(r))
		}
	}
	return t
}

func recordOf(r *fsm.Record) Record {
	return Record{Name: r.Name, Type: r.Type, TTL: r.TTL, Addr: r.Addr, Target: r.Target, Port: r.Port}
}

// changed are the sets that v sees otherwise in now than in old.
func (v *view) changed(old, now *fsm.State) (sets []Set) {
	done := ""
	for key := range fsm.Changes(old.Records, now.Records) {
		name, rest, _ := strings.Cut(key, "/")
		typ, _, _ := strings.Cut(rest, "/")
		if prefix := name + "/" + typ + "/"; prefix != done {
			done = prefix
			before, after := v.records(old, prefix), v.records(now, prefix)
			if !slices.Equal(before, after) {
				sets = append(sets, Set{Name: name, Type: typ, Records: after})
			}
		}
	}
	return sets
}

// records are those that v sees of one set, whose keys begin with prefix.
func (v *view) records(s *fsm.State, prefix string) (records []Record) {
	for _, r := range s.Records.Prefix(prefix) {
		if v.visible[r.Network] {
			records = append(records, recordOf(r))
		}
	}
	return records
}

// Builder makes each State's Zone from the Zone of the State before: an entry
// costs what it changes, and nothing if it changes no record. The zero value is
// ready, and sees all networks; it is for one goroutine.
type Builder struct {
	state *fsm.State
	view  view
	zone  *Zone
}

// Update is BuildZone(s), in less time.
func (b *Builder) Update(s *fsm.State) *Zone {
	serial := uint32(s.Index)
	switch {
	case b.state == nil || !b.sees(s):
		b.view = viewOf(s, "")
		t := b.view.table(s)
		b.zone = NewZone(&t)
	case b.state.Records.Same(s.Records):
		b.zone = b.zone.WithSerial(serial)
	default:
		b.zone = b.zone.With(serial, b.view.changed(b.state, s))
	}
	b.state = s
	return b.zone
}

// sees tells whether the view of s is that of the State before.
func (b *Builder) sees(s *fsm.State) bool {
	if b.state.Cluster.Domain == s.Cluster.Domain && b.state.Networks.Same(s.Networks) {
		return true
	}
	v := viewOf(s, "")
	return v.equal(&b.view)
}
