package scheduler

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

// A host needs the jail's image, or another host that it can get it from.
func imageOK(_ *fleet, n *need, h *fsm.Host) bool {
	return n.offered || n.build != nil && holds(n.build, h.ID)
}

// offered reports whether a host that is there holds b.
func offered(s *fsm.State, b *fsm.Build) bool {
	for _, id := range b.Hosts {
		if h, ok := s.Hosts.Get(string(id)); ok && (h.State == fsm.HostAlive || h.State == fsm.HostDraining) {
			return true
		}
	}
	return false
}

func imageWhy(f *fleet, n *need, _ *fsm.Host) string {
	if n.image == "" {
		return fmt.Sprintf("image %s is unknown: declare it, or rexctl image build -t %s", n.jail.Image, n.jail.Image)
	}
	if n.build == nil || len(n.build.Hosts) == 0 {
		return fmt.Sprintf("image %s is built on no host: rexctl image build -t %s", n.jail.Image, n.jail.Image)
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
