package hostagent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

// GC says which images and layers of this host CollectImages may remove.
type GC struct {
	DryRun     bool // only say what would go
	KeepNewest int  // images that nobody needs stay if they are among the newest so many of this host
	Bases      bool // also base layers that nothing stands on: they are dear to make again
}

// Garbage is one thing that CollectImages removes.
type Garbage struct {
	Kind  string // image, layer, base
	Key   string
	Name  string // of the image when it was built, or what the base was made from
	Bytes int64  // on disk; 0 for an image, which is only a name for layers
}

// CollectImages removes images that no name of the cluster means, no jail
// and no Run of this host has, and that are not among the newest; and layers
// that no image which stays needs. It returns what went, and whether a build
// under way has kept layers from going.
//
// The cluster hears first that this host no longer holds an image: whoever
// applies a file that needs it builds it again.
func (a *Agent) CollectImages(ctx context.Context, o GC) (gone []Garbage, busy bool, err error) {
	if a.features.Simulated {
		return nil, false, nil
	}
	plan, keep, err := a.planGC(ctx, o)
	if err != nil || o.DryRun {
		return plan, false, err
	}
	for _, g := range plan {
		if g.Kind != "image" {
			continue
		}
		err := a.propose(ctx, fsm.ReportBuild{Key: g.Key, Host: a.c.Host, Gone: true})
		if refusal := (*fsm.Refusal)(nil); err != nil && !errors.As(err, &refusal) {
			return nil, false, fmt.Errorf("tell the cluster that image %.19s goes: %w", g.Key, err)
		}
	}
	// Somebody may have named one of them before the cluster heard.
	keep.Images = append(keep.Images, a.namedKeys()...)
	if _, err := a.c.Store.Sweep(ctx, keep); err != nil {
		return nil, false, fmt.Errorf("collect images: %w", err)
	}
	left, err := a.c.Store.List(ctx)
	if err != nil {
		return nil, false, fmt.Errorf("collect images: %w", err)
	}
	for _, g := range plan {
		there := slices.Contains(left.Layers, g.Key)
		if g.Kind == "image" {
			there = slices.ContainsFunc(left.Images, func(i zfssync.Image) bool { return i.Key == g.Key })
		}
		if there {
			busy = true
			continue
		}
		gone = append(gone, g)
	}
	return gone, busy, nil
}

// namedKeys are the images that the cluster needs: what names mean, what
// jails are to have, and what runs here.
func (a *Agent) namedKeys() []string {
	s := a.c.Cluster.State()
	keys := []string{}
	for _, i := range s.Images.All {
		keys = append(keys, i.Key)
	}
	for _, j := range s.Jails.All {
		if j.Spec.ImageKey != "" {
			keys = append(keys, j.Spec.ImageKey)
		}
	}
	for _, r := range s.ByHost.Prefix(string(a.c.Host) + "/") {
		keys = append(keys, r.Image)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// planGC finds the garbage, images first, and what Sweep has to keep.
func (a *Agent) planGC(ctx context.Context, o GC) ([]Garbage, zfssync.Keep, error) {
	l, err := a.c.Store.List(ctx)
	if err != nil {
		return nil, zfssync.Keep{}, fmt.Errorf("collect images: %w", err)
	}
	keep := zfssync.Keep{AllJails: true, Images: a.namedKeys(), BaseOfAll: !o.Bases}
	for _, c := range l.Clones {
		keep.Images = append(keep.Images, c.ImageKey)
	}
	keep.Images = append(keep.Images, newest(l.Images, o.KeepNewest)...)
	var plan []Garbage
	need := map[string]bool{}
	for _, i := range l.Images {
		if !slices.Contains(keep.Images, i.Key) {
			plan = append(plan, Garbage{Kind: "image", Key: i.Key, Name: i.Name})
			continue
		}
		top, err := a.c.Store.Layer(i.Top)
		if errors.Is(err, zfssync.ErrNotFound) {
			continue // an image whose layer is gone needs nothing
		}
		if err != nil {
			return nil, keep, fmt.Errorf("collect images: %w", err)
		}
		need[i.Top] = true
		for _, k := range top.Parents {
			need[k] = true
		}
	}
	for _, k := range l.Layers {
		if need[k] {
			continue
		}
		info, err := a.c.Store.Layer(k)
		if err != nil {
			return nil, keep, fmt.Errorf("collect images: %w", err)
		}
		switch base := len(info.Parents) == 0 && info.Base != ""; {
		case base && o.Bases:
			plan = append(plan, Garbage{Kind: "base", Key: k, Name: info.Base, Bytes: info.Bytes})
		case !base:
			plan = append(plan, Garbage{Kind: "layer", Key: k, Bytes: info.Bytes})
		}
	}
	return plan, keep, nil
}

// newest returns the keys of the n images that were made last.
func newest(images []zfssync.Image, n int) []string {
	images = slices.Clone(images)
	slices.SortFunc(images, func(a, b zfssync.Image) int {
		if c := b.CreatedAt.Compare(a.CreatedAt); c != 0 {
			return c
		}
		return strings.Compare(a.Key, b.Key)
	})
	var keys []string
	for _, i := range images[:min(max(n, 0), len(images))] {
		keys = append(keys, i.Key)
	}
	return keys
}
