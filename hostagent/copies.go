package hostagent

import (
	"cmp"
	"context"
	"hash/fnv"
	"slices"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// An image that is on one host alone is lost with it, and with it every chance
// to start its jails elsewhere. So each image that a jail runs is kept on
// imageCopies hosts, chosen by a hash that all hosts compute alike.
const imageCopies = 3

// copyPause is between two looks, and after a copy that failed.
const copyPause = 2 * time.Second

// copies fetches the images of which this host shall keep a copy.
func (a *Agent) copies(ctx context.Context) {
	if a.c.Contact == nil {
		return // nobody else is there
	}
	for {
		changed := a.c.Cluster.Watch()
		for _, key := range copiesFor(a.c.Cluster.State(), a.c.Host) {
			if err := a.copy(ctx, key); err != nil && ctx.Err() == nil {
				a.c.Log.Warn("no copy of an image could be made here", "image", key, "err", err)
			}
		}
		if !sleep(ctx, copyPause) {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

func (a *Agent) copy(ctx context.Context, key string) error {
	if a.features.Simulated {
		return a.propose(ctx, fsm.ReportBuild{Key: key, Host: a.c.Host})
	}
	return a.fetch(ctx, "of a jail", key)
}

// copiesFor are the images in use that host shall hold and does not.
func copiesFor(s *fsm.State, host fsm.HostID) (keys []string) {
	used := map[string]bool{}
	for _, j := range s.Jails.All {
		if key := j.Spec.ImageKey; key != "" && !used[key] && j.Want != fsm.WantGone {
			used[key] = true
			if b, ok := s.Builds.Get(key); ok && !slices.Contains(b.Hosts, host) && slices.Contains(keepers(s, b), host) {
				keys = append(keys, key)
			}
		}
	}
	slices.Sort(keys)
	return keys
}

// keepers are the hosts that shall have b: those that have it already come
// first, so that nothing moves when a host joins.
func keepers(s *fsm.State, b *fsm.Build) []fsm.HostID {
	var kinds []string
	var hosts []fsm.HostID
	kind := func(h *fsm.Host) string { return h.OS + "/" + h.Arch + "/" + h.Runtime }
	for _, id := range b.Hosts {
		if h, ok := s.Hosts.Get(string(id)); ok && h.State != fsm.HostLost {
			kinds = append(kinds, kind(h))
		}
	}
	for _, h := range s.Hosts.All {
		if h.State == fsm.HostAlive && slices.Contains(kinds, kind(h)) {
			hosts = append(hosts, h.ID)
		}
	}
	slices.SortFunc(hosts, func(x, y fsm.HostID) int {
		return cmp.Or(cmp.Compare(missing(b, x), missing(b, y)), cmp.Compare(weight(b.Key, x), weight(b.Key, y)), cmp.Compare(x, y))
	})
	return hosts[:min(len(hosts), imageCopies)]
}

func missing(b *fsm.Build, h fsm.HostID) int {
	if slices.Contains(b.Hosts, h) {
		return 0
	}
	return 1
}

func weight(key string, h fsm.HostID) uint64 {
	sum := fnv.New64a()
	_, _ = sum.Write([]byte(key + "/" + string(h))) // a hash takes all
	return sum.Sum64()
}
