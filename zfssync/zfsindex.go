package zfssync

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The index is what was last read of the datasets. This process is the only one that changes them (it holds the lock on
// the data directory), and reads again whatever it has changed; HasLayer and its like then need no process.

// indexed are the properties in the index.
var indexed = []string{
	"type", "guid", "creation", "createtxg", "origin", "referenced", "used", "refquota", "mountpoint",
	propInstance, propLayer, propParent, propBase, propImage, propOptions,
}

// refresh reads ds and all below it again. One that is not there leaves the index; the error is then ErrNotFound.
func (s *ZFS) refresh(ctx context.Context, ds string) error {
	props := indexed
	if s.can.resume {
		props = append(slices.Clone(props), propToken)
	}
	sets, err := s.z.get(ctx, ds, props)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("read dataset %s: %w", ds, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.index {
		if within(name, ds) {
			delete(s.index, name)
		}
	}
	for name, set := range sets {
		s.index[name] = set
	}
	return err
}

const propToken = "receive_resume_token"

// within reports whether name is ds, a snapshot of it, or below it.
func within(name, ds string) bool {
	rest, ok := strings.CutPrefix(name, ds)
	return ok && (rest == "" || rest[0] == '/' || rest[0] == '@')
}

// forget takes ds and all below it out of the index.
func (s *ZFS) forget(ds string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.index {
		if within(name, ds) {
			delete(s.index, name)
		}
	}
}

// known returns what the index has of ds, nil for nothing.
func (s *ZFS) known(ds string) zset {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.index[ds]
}

// own returns what the index has of ds when it is ours.
func (s *ZFS) own(ds string) zset {
	set := s.known(ds)
	if set == nil || set.local(propInstance) != s.c.Instance {
		return nil
	}
	return set
}

// members returns the names of our datasets of a group, sorted.
func (s *ZFS) members(group string) []string {
	prefix := s.root + "/" + group + "/"
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for name, set := range s.index {
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok || strings.ContainsAny(rest, "/@") {
			continue
		}
		if group == "staging" || set.local(propInstance) == s.c.Instance {
			out = append(out, rest)
		}
	}
	slices.Sort(out)
	return out
}

// zsnap is a snapshot in the index.
type zsnap struct {
	full, name, guid string
	txg, created     int64
	set              zset
}

// snapsOf returns the snapshots of ds, oldest first.
func (s *ZFS) snapsOf(ds string) []zsnap {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []zsnap
	for full, set := range s.index {
		if name, ok := strings.CutPrefix(full, ds+"@"); ok {
			out = append(out, zsnap{full, name, set.value("guid"), set.number("createtxg"), set.number("creation"), set})
		}
	}
	slices.SortFunc(out, func(a, b zsnap) int {
		return cmp.Or(cmp.Compare(a.txg, b.txg), cmp.Compare(a.created, b.created), cmp.Compare(a.name, b.name))
	})
	return out
}

// byGUID returns the full name of a snapshot of ours, "" for none. Layers come first: they do not go away.
func (s *ZFS) byGUID(guid string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for full, set := range s.index {
		if strings.Contains(full, "@") && set.value("guid") == guid {
			all = append(all, full)
		}
	}
	slices.SortFunc(all, func(a, b string) int {
		l := s.root + "/layer/"
		if x, y := strings.HasPrefix(a, l), strings.HasPrefix(b, l); x != y {
			if x {
				return -1
			}
			return 1
		}
		return cmp.Compare(a, b)
	})
	if len(all) == 0 {
		return ""
	}
	return all[0]
}

// guidOf returns the GUID of the snapshot that ds was cloned from, "" for none.
func (s *ZFS) originGUID(ds string) string {
	o := s.known(ds).value("origin")
	if o == "" {
		return ""
	}
	return s.known(o).value("guid")
}

// confirm reads ds from the pool itself and makes sure that it is ours, before it is destroyed or changed for good. One
// that is not there is ErrNotFound.
func (s *ZFS) confirm(ctx context.Context, ds string) error {
	if err := s.refresh(ctx, ds); err != nil {
		return err
	}
	set := s.known(ds)
	p := set[propInstance]
	inStaging := strings.HasPrefix(ds, s.root+"/staging/") && p.source == "inherited from "+s.root+"/staging"
	if p.value != s.c.Instance || !inStaging && p.source != "local" && p.source != "received" {
		return fmt.Errorf("dataset %s is not this host's (%s is %q, %s): it stays untouched", ds, propInstance, p.value, p.source)
	}
	return nil
}

// remove destroys a dataset of ours with its snapshots; none is success.
func (s *ZFS) remove(ctx context.Context, ds string) error {
	err := s.confirm(ctx, ds)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	err = s.z.destroy(ctx, ds)
	if errors.Is(err, errBusy) { // a hold of a predecessor that died while it was sending
		for _, snap := range s.snapsOf(ds) {
			if s.heldSnaps.has(snap.full) {
				return fmt.Errorf("snapshot %s is being sent or held: %w", snap.name, ErrInUse)
			}
			if rerr := s.z.release(ctx, snap.full); rerr != nil {
				return errors.Join(err, rerr)
			}
		}
		err = s.z.destroy(ctx, ds)
	}
	if err != nil {
		return errors.Join(err, s.reread(ctx, ds))
	}
	s.forget(ds)
	return nil
}

// reread is refresh after something that failed half way.
func (s *ZFS) reread(ctx context.Context, ds string) error {
	if err := s.refresh(ctx, ds); err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	return nil
}

func (z zset) created() time.Time { return time.Unix(z.number("creation"), 0).UTC() }
