package dnsd

import (
	"slices"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// BuildZone is all that s serves: what the host's own resolver answers from.
func BuildZone(s *fsm.State) *Zone {
	t := BuildTable(s, "")
	return NewZone(&t)
}

// BuildTable is what the router of network serves: the records of its own
// network and of those that its jails may reach. The empty network sees all.
func BuildTable(s *fsm.State, network string) Table {
	t := Table{Domain: s.Cluster.Domain, Serial: uint32(s.Index)}
	visible := map[string]bool{}
	for name, n := range s.Networks.All {
		if network != "" && name != network && !slices.Contains(n.Allow, network) {
			continue
		}
		visible[name] = true
		t.Reverse = append(t.Reverse, n.Subnet)
		if n.Subnet6.IsValid() {
			t.Reverse = append(t.Reverse, n.Subnet6)
		}
		if network != "" && name != network {
			continue
		}
		if n.Gateway.IsValid() {
			t.NS = append(t.NS, n.Gateway)
		}
		if n.Gateway6.IsValid() {
			t.NS = append(t.NS, n.Gateway6)
		}
	}
	t.Records = make([]Record, 0, s.Records.Len())
	for _, r := range s.Records.All {
		if visible[r.Network] {
			t.Records = append(t.Records, Record{Name: r.Name, Type: r.Type, TTL: r.TTL, Addr: r.Addr, Target: r.Target, Port: r.Port})
		}
	}
	return t
}

// Builder remembers what the last State's zone was made of, so that an entry
// which changes no record costs nothing. The zero value is ready; it is for
// one goroutine.
type Builder struct {
	state *fsm.State
	zone  *Zone
}

// Update is BuildZone(s). Where s serves the same as the State before, the
// packed zone is shared and only the serial is new.
func (b *Builder) Update(s *fsm.State) *Zone {
	if b.state != nil && sameRecords(b.state, s) {
		b.zone = b.zone.WithSerial(uint32(s.Index))
	} else {
		b.zone = BuildZone(s)
	}
	b.state = s
	return b.zone
}

// sameRecords tells, in constant time, whether a and b serve the same.
func sameRecords(a, b *fsm.State) bool {
	return a.Cluster.Domain == b.Cluster.Domain && a.Records.Same(b.Records) && a.Networks.Same(b.Networks)
}
