package fsm

import (
	"reflect"
	"slices"

	"github.com/rexcarcer/rexcarcer/spec"
)

// sharing lets the values of a snapshot have in common what is equal, as they
// had before it was written: the names of a jail are in ten places, the
// command of a group in all of its members. Nobody changes what is in a State,
// so it does not show. A nil sharing shares nothing.
type sharing struct {
	texts  map[string]string
	wished map[string]*spec.Jail // by name
	names  map[JailName][]string // of jails
}

func newSharing() *sharing {
	return &sharing{texts: map[string]string{}, wished: map[string]*spec.Jail{}, names: map[JailName][]string{}}
}

// text makes each of p the first string that was equal.
func text[S ~string](sh *sharing, p ...*S) {
	for _, s := range p {
		if *s == "" {
			continue
		}
		first, ok := sh.texts[string(*s)]
		if !ok {
			first = string(*s)
			sh.texts[first] = first
		}
		*s = S(first)
	}
}

// list is mine, or other where both are equal. JSON leaves room at the end of
// a list: what is kept has none. An empty list stays as it is, because none
// and an empty one are written differently.
func list[T any](mine, other []T, equal func(a, b []T) bool) []T {
	switch {
	case len(mine) == 0:
		return mine
	case len(mine) == len(other) && equal(mine, other):
		return other
	case cap(mine) > len(mine):
		return append(make([]T, 0, len(mine)), mine...)
	}
	return mine
}

func deepEqual[T any](a, b []T) bool { return reflect.DeepEqual(a, b) }

// wish shares among the jails of w, each with the one before it.
func (sh *sharing) wish(w *spec.Wish) {
	if sh == nil {
		return
	}
	w.Jails = list(w.Jails, nil, deepEqual)
	before := &spec.Jail{}
	for i := range w.Jails {
		j := &w.Jails[i]
		sh.spec(j, before)
		sh.wished[j.Name] = j
		before = j
	}
}

// spec shares what j has in common with other.
func (sh *sharing) spec(j, other *spec.Jail) {
	text(sh, &j.Name, &j.Group, &j.Image, &j.ImageKey, &j.Hostname, &j.User, &j.WorkDir, &j.Restart.Policy, &j.Runtime, &j.OS, &j.Arch)
	j.NICs = list(j.NICs, other.NICs, slices.Equal)
	j.Command = list(j.Command, other.Command, slices.Equal)
	j.Env = list(j.Env, other.Env, slices.Equal)
	j.Services = list(j.Services, other.Services, deepEqual)
	j.Volumes = list(j.Volumes, other.Volumes, slices.Equal)
	j.Depends = list(j.Depends, other.Depends, slices.Equal)
	j.Place.Constraint = list(j.Place.Constraint, other.Place.Constraint, slices.Equal)
	j.Place.Affinity = list(j.Place.Affinity, other.Place.Affinity, slices.Equal)
}

func (sh *sharing) jail(j *Jail) {
	if sh == nil {
		return
	}
	other := sh.wished[j.Spec.Name]
	if other == nil {
		other = &spec.Jail{}
	}
	sh.spec(&j.Spec, other)
	text(sh, &j.Wish, &j.Hash)
	text(sh, &j.Want)
	for i := range j.Names {
		text(sh, &j.Names[i])
	}
	for i := range j.Addrs {
		text(sh, &j.Addrs[i].Network, &j.Addrs[i].MAC)
	}
	j.Addrs = list(j.Addrs, nil, slices.Equal)
	j.Names = list(j.Names, nil, slices.Equal)
	sh.names[JailName(j.Spec.Name)] = j.Names
}

func (sh *sharing) run(r *Run) {
	if sh == nil {
		return
	}
	text(sh, &r.Jail, &r.PushedBy)
	text(sh, &r.Host, &r.From)
	text(sh, &r.Health)
	text(sh, &r.Hash, &r.Image, &r.Why, &r.StopWhy, &r.Reason)
}

func (sh *sharing) lease(l *Lease) {
	if sh == nil {
		return
	}
	text(sh, &l.Network, &l.MAC, &l.Hostname)
	text(sh, &l.Jail, &l.Last)
}

func (sh *sharing) guest(g *Guest) {
	if sh == nil {
		return
	}
	text(sh, &g.Network, &g.Hostname)
	text(sh, &g.Host)
	if g.MAC == g.Client {
		g.MAC = g.Client
	}
}

func (sh *sharing) record(r *Record) {
	if sh == nil {
		return
	}
	text(sh, &r.Name, &r.Type, &r.Target, &r.Network, &r.Service)
	text(sh, &r.Jail)
}

func (sh *sharing) cert(c *Cert) {
	if sh == nil {
		return
	}
	text(sh, &c.Jail)
	text(sh, &c.CSRBy)
	text(sh, &c.CA)
	c.Names = list(c.Names, sh.names[c.Jail], slices.Equal)
	c.Addrs = list(c.Addrs, nil, slices.Equal)
}
