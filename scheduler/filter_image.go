package scheduler

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

// A host needs the jail's image, or another host of its kind that it can get it
// from: programs for Linux do not run on FreeBSD. A simulated host pretends to
// be any.
func imageOK(_ *fleet, n *need, h *fsm.Host) bool {
	return n.build != nil && (slices.Contains(n.offered, kindOf(h)) || h.Runtime == "sim" && len(n.offered) > 0 || holds(n.build, h.ID))
}

// kind is what a host's programs are made for.
type kind struct{ os, arch string }

func kindOf(h *fsm.Host) kind { return kind{h.OS, h.Arch} }

func (k kind) String() string { return k.os + "/" + k.arch }

// offered lists the kinds of hosts that are there and hold b.
func offered(s *fsm.State, b *fsm.Build) []kind {
	var out []kind
	for _, id := range b.Hosts {
		h, ok := s.Hosts.Get(string(id))
		if ok && (h.State == fsm.HostAlive || h.State == fsm.HostDraining) && !slices.Contains(out, kindOf(h)) {
			out = append(out, kindOf(h))
		}
	}
	return out
}

func imageWhy(f *fleet, n *need, h *fsm.Host) string {
	if n.image == "" {
		return fmt.Sprintf("image %s is unknown: declare it, or rexctl image build -t %s", n.jail.Image, n.jail.Image)
	}
	if n.build == nil || len(n.build.Hosts) == 0 {
		return fmt.Sprintf("image %s is built on no host: rexctl image build -t %s", n.jail.Image, n.jail.Image)
	}
	if len(n.offered) > 0 {
		return fmt.Sprintf("image %s is built for %v, not for %v: build it on a host of that kind as well", n.jail.Image, n.offered[0], kindOf(h))
	}
	const few = 3
	var on []string
	for _, id := range n.build.Hosts[:min(few, len(n.build.Hosts))] {
		if h, ok := f.s.Hosts.Get(string(id)); ok {
			on = append(on, h.Name)
		}
	}
	return fmt.Sprintf("image %s is only on lost hosts (%s): bring that host back, or build it again", n.jail.Image, strings.Join(on, ", "))
}

// imageKey is the Key that j runs: of its own wish, else what the name means now.
func imageKey(s *fsm.State, j *spec.Jail) string {
	if j.ImageKey != "" {
		return j.ImageKey
	}
	if im, ok := s.Images.Get(j.Image); ok {
		return im.Key
	}
	return ""
}

// holds reports whether h has b; Hosts is sorted.
func holds(b *fsm.Build, h fsm.HostID) bool {
	_, ok := slices.BinarySearch(b.Hosts, h)
	return ok
}
