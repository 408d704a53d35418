package plan

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// answers is what one DNS name says, in one State.
type answers struct {
	types map[string]bool
	hosts map[fsm.JailName]bool
	port  uint16
	addrs []string
	svc   string
}

// dns adds one step for each name whose answer differs because of a jail that
// the wish touches. A PTR belongs to the name that it points to.
func (d *diff) dns() {
	changed := map[string]bool{}
	for _, key := range d.records {
		o, had := d.before.Records.Get(key)
		n, has := d.after.Records.Get(key)
		if had && has && *o == *n {
			continue
		}
		for _, r := range []*fsm.Record{o, n} {
			if r != nil && d.touched[string(r.Jail)] {
				changed[ownerName(r)] = true
			}
		}
	}
	names := make([]string, 0, len(changed))
	for n := range changed {
		names = append(names, n)
	}
	sort.Strings(names)
	for _, n := range names {
		o, w := answersTo(d.before, n), answersTo(d.after, n)
		switch {
		case o == nil:
			d.add(Step{Action: ActionCreate, Kind: KindDNS, Name: n, Reason: w.reason(), Detail: w.text()})
		case w == nil:
			d.add(Step{Action: ActionDestroy, Kind: KindDNS, Name: n, Reason: "nobody answers to it any more", Detail: o.text()})
		default:
			d.add(Step{Action: ActionChange, Kind: KindDNS, Name: n, Reason: w.reason(), Detail: w.text(), Changes: o.changes(w)})
		}
	}
}

func ownerName(r *fsm.Record) string {
	if r.Type == "PTR" {
		return r.Target
	}
	return r.Name
}

// answersTo is what s says to name, nil if nothing. Its PTRs are at the
// reverse of its addresses.
func answersTo(s *fsm.State, name string) *answers {
	var a *answers
	add := func(r *fsm.Record) {
		if a == nil {
			a = &answers{types: map[string]bool{}, hosts: map[fsm.JailName]bool{}}
		}
		a.types[r.Type] = true
		a.hosts[r.Jail] = true
		if r.Service != "" {
			a.svc = r.Service
		}
		if r.Type == "SRV" {
			a.port = r.Port
		}
		if r.Addr.IsValid() {
			a.addrs = append(a.addrs, r.Addr.String())
		}
	}
	for _, r := range s.Records.Prefix(name + "/") {
		if r.Type == "PTR" {
			continue // belongs to where it points
		}
		add(r)
		if !r.Addr.IsValid() {
			continue
		}
		for _, back := range s.Records.Prefix(fsm.ReverseName(r.Addr) + "/PTR/") {
			if back.Target == name {
				add(back)
			}
		}
	}
	return a
}

func (a *answers) reason() string {
	if a.svc != "" {
		return "healthy members of service " + a.svc
	}
	for j := range a.hosts { // a host name has one owner
		return "address of jail " + string(j)
	}
	return ""
}

// text is "A PTR", or "SRV :8080, 3 members".
func (a *answers) text() string {
	var types []string
	for _, t := range []string{"A", "AAAA", "PTR", "SRV"} {
		if a.types[t] {
			types = append(types, t)
		}
	}
	s := strings.Join(types, " ")
	if a.port != 0 {
		s += fmt.Sprintf(" :%d", a.port)
	}
	if a.svc != "" {
		s += ", " + plural(len(a.hosts), "member")
	}
	return s
}

func (a *answers) changes(b *answers) []string {
	var c []string
	if a.svc == "" && b.svc == "" {
		c = append(c, changed("address", strings.Join(a.addrs, " "), strings.Join(b.addrs, " "))...)
	}
	c = append(c, changed("members", fmt.Sprint(len(a.hosts)), fmt.Sprint(len(b.hosts)))...)
	if a.port != b.port {
		c = append(c, changed("port", fmt.Sprint(a.port), fmt.Sprint(b.port))...)
	}
	if len(c) == 0 {
		c = append(c, "other records")
	}
	return c
}

// certs adds a step for each certificate that must be made, made anew or goes.
func (d *diff) certs() {
	names := make([]string, 0, len(d.touched))
	for n := range d.touched {
		names = append(names, n)
	}
	sort.Strings(names)
	for _, n := range names {
		old, had := d.now.Certs.Get(n)
		now, has := d.after.Certs.Get(n)
		switch {
		case has && !had:
			d.add(Step{Action: ActionCreate, Kind: KindCert, Name: n, Reason: "new jail", Names: now.Names})
		case had && !has:
			d.add(Step{Action: ActionDestroy, Kind: KindCert, Name: n, Reason: "its jail goes", Names: old.Names})
		case had && (!slices.Equal(old.Names, now.Names) || !slices.Equal(old.Addrs, now.Addrs) || old.URI != now.URI):
			st := Step{Action: ActionChange, Kind: KindCert, Name: n, Reason: "its names or addresses differ", Names: now.Names}
			st.Changes = lists("names", old.Names, now.Names)
			d.add(st)
		}
	}
}
