package scheduler

import (
	"slices"
	"strings"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

// need is what a jail asks of a host, apart from room.
type need struct {
	jail    *spec.Jail
	image   string       // Key; "": nobody knows the image
	build   *fsm.Build   // who holds it; nil: nobody
	offered []kind       // of hosts that are there and hold it: others like them can get it
	home    fsm.HostID   // host that has the jail's volumes; "": any host will do
	untidy  []fsm.HostID // hosts that have yet to remove what a move left there
	terms   []condition
}

// rules is a need and what the hosts answer to it. Jails that ask the same
// share it, so each filter looks at each host once a pass.
type rules struct {
	need
	open    []int32        // hosts that no filter refuses, room not considered
	bonus   []int64        // by host: affinity and image, in points
	refused []FilterResult // by the others, in the order of filters
}

// filter lets a host run a jail or not.
type filter struct {
	name string
	ok   func(f *fleet, n *need, h *fsm.Host) bool
	why  func(f *fleet, n *need, h *fsm.Host) string // only asked where ok is false
}

// filters that do not depend on how full a host is, cheapest first. Room is
// checked separately (filter_resources.go), since it changes with each
// placement.
var filters = [...]filter{
	{"host", hostOK, hostWhy},
	{"pin", pinOK, pinWhy},
	{"runtime", runtimeOK, runtimeWhy},
	{"platform", platformOK, platformWhy},
	{"volume", volumeOK, volumeWhy},
	{"move", tidyOK, tidyWhy},
	{"image", imageOK, imageWhy},
	{"constraint", constraintOK, constraintWhy},
}

// needOf collects what m asks.
func (f *fleet) needOf(m *member) need {
	j := &m.jail.Spec
	n := need{jail: j, image: imageKey(f.s, j), home: volumeHome(m), untidy: m.untidy}
	if n.image != "" {
		n.build, _ = f.s.Builds.Get(n.image)
	}
	if n.build != nil {
		n.offered = offered(f.s, n.build)
	}
	return n
}

// rulesFor returns the rules that m follows.
func (f *fleet) rulesFor(m *member) *rules {
	n := f.needOf(m)
	key := n.key()
	if r := f.rules[key]; r != nil {
		return r
	}
	n.terms = conditions(n.jail.Place.Constraint)
	r := &rules{need: n, open: make([]int32, 0, len(f.hosts)), bonus: make([]int64, len(f.hosts))}
	liked := likings(n.jail.Place.Affinity)
	for i, h := range f.hosts {
		if by := r.firstRefusal(f, h); by != nil {
			r.refuse(f, by, h)
			continue
		}
		r.open = append(r.open, int32(i))
		r.bonus[i] = affinityPoints(liked, h) + imagePoints(&n, h)
	}
	f.rules[key] = r
	return r
}

// key is equal for needs that every host answers alike.
func (n *need) key() string {
	j := n.jail
	var b strings.Builder
	for _, v := range []string{j.Runtime, j.OS, j.Arch, j.Place.Host, j.Image, n.image, string(n.home)} {
		b.WriteString(v)
		b.WriteByte(0)
	}
	for _, v := range j.Place.Constraint {
		b.WriteString(v)
		b.WriteByte(0)
	}
	b.WriteByte(1)
	for _, v := range j.Place.Affinity {
		b.WriteString(v)
		b.WriteByte(0)
	}
	for _, v := range n.untidy {
		b.WriteByte(2)
		b.WriteString(string(v))
	}
	return b.String()
}

func (r *rules) firstRefusal(f *fleet, h *fsm.Host) *filter {
	for i := range filters {
		if !filters[i].ok(f, &r.need, h) {
			return &filters[i]
		}
	}
	return nil
}

func (r *rules) refuse(f *fleet, by *filter, h *fsm.Host) {
	for i := range r.refused {
		if r.refused[i].Filter == by.name {
			r.refused[i].Hosts++
			return
		}
	}
	r.refused = append(r.refused, FilterResult{Filter: by.name, Hosts: 1, Host: h.Name, Why: by.why(f, &r.need, h)})
}

// askSame reports whether every host answers a and b alike and both need the
// same room, for jails of one group.
func askSame(a, b *spec.Jail) bool {
	return a.Limits.CPU == b.Limits.CPU && a.Limits.MemoryBytes == b.Limits.MemoryBytes &&
		a.Image == b.Image && a.ImageKey == b.ImageKey && a.Runtime == b.Runtime && a.OS == b.OS && a.Arch == b.Arch &&
		a.Place.Host == b.Place.Host && a.Place.Spread == b.Place.Spread && a.Place.BinPack == b.Place.BinPack &&
		slices.Equal(a.Place.Constraint, b.Place.Constraint) && slices.Equal(a.Place.Affinity, b.Place.Affinity)
}
