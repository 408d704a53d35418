package zfssync

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// resumeTime is how long Sweep leaves a cut receive that can be gone on with.
const resumeTime = 24 * time.Hour

// List implements Store.
func (s *ZFS) List(ctx context.Context) (Listing, error) {
	var l Listing
	if err := s.refresh(ctx, s.root); err != nil {
		return l, fmt.Errorf("list store: %w", err)
	}
	if err := listImages(s.layout, &l); err != nil {
		return l, fmt.Errorf("list store: %w", err)
	}
	for _, name := range s.members("layer") {
		digest, _, _ := strings.Cut(name, ".")
		if key := keyPrefix + digest; s.HasLayer(key) && !slices.Contains(l.Layers, key) {
			l.Layers = append(l.Layers, key)
		}
	}
	for _, uuid := range s.members("jail") {
		set := s.own(s.ds("jail", uuid))
		c := Clone{UUID: uuid, ImageKey: set.local(propImage), Root: s.at("jail", uuid)}
		if opt, err := jailOptions(set); err == nil {
			c.Options = opt
		}
		if !c.Options.IDMap.IsZero() {
			c.Root = s.layout.root(uuid)
		}
		var err error
		if c.Mounted, err = isMounted(c.Root); err != nil {
			return l, fmt.Errorf("list store: %w", err)
		}
		l.Clones = append(l.Clones, c)
	}
	if err := s.listBinds(&l); err != nil {
		return l, fmt.Errorf("list store: %w", err)
	}
	for _, id := range s.members("volume") {
		l.Volumes = append(l.Volumes, VolumeID(id))
	}
	for _, name := range s.members("staging") {
		ds := s.ds("staging", name)
		resumable := s.known(ds).value(propToken) != "" && time.Since(s.known(ds).created()) < resumeTime
		if !s.busyStaging(ds) && !resumable {
			l.Leftovers = append(l.Leftovers, ds)
		}
	}
	return l, nil
}

// listBinds adds jails that have mount points here and no dataset: a crash came between their removals, or they have
// volumes alone.
func (s *ZFS) listBinds(l *Listing) error {
	entries, err := os.ReadDir(s.jails())
	if err != nil {
		return err
	}
	for _, e := range entries {
		if uuid := e.Name(); uuidRE.MatchString(uuid) && !slices.ContainsFunc(l.Clones, func(c Clone) bool { return c.UUID == uuid }) {
			l.Clones = append(l.Clones, Clone{UUID: uuid, Root: s.at("jail", uuid)})
		}
	}
	slices.SortFunc(l.Clones, func(a, b Clone) int { return strings.Compare(a.UUID, b.UUID) })
	return nil
}

// Sweep implements Store. One thing that cannot be removed does not keep the rest; its error is returned at the end.
func (s *ZFS) Sweep(ctx context.Context, keep Keep) (removed []string, err error) {
	l, err := s.List(ctx)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, ds := range l.Leftovers {
		name := strings.TrimPrefix(ds, s.root+"/staging/")
		err := errors.Join(s.mnt.unmount(s.builds()+"/"+name), s.mnt.unmount(s.at("staging", name)))
		if err == nil {
			err = s.remove(ctx, ds)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("remove leftover %s: %w", ds, err))
			continue
		}
		removed = append(removed, "leftover "+ds)
	}
	errs = append(errs, s.sweepPlaces())
	var stay []Clone
	for _, c := range l.Clones {
		if keep.AllJails || slices.Contains(keep.Jails, c.UUID) {
			stay = append(stay, c)
			continue
		}
		if err := s.Destroy(ctx, c.UUID); err != nil {
			errs = append(errs, err)
			stay = append(stay, c)
			continue
		}
		removed = append(removed, "clone of jail "+c.UUID)
	}
	if keep.Images != nil && errors.Join(errs...) == nil {
		gone, err := s.sweepImages(ctx, l, stay, keep)
		removed = append(removed, gone...)
		errs = append(errs, err)
	}
	return removed, errors.Join(errs...)
}

// sweepPlaces removes mount points of what is gone; those with something in them stay.
func (s *ZFS) sweepPlaces() error {
	for group, dir := range map[string]string{"staging": s.staging(), "builds": s.builds(), "jail": s.place("jail"), "volume": s.volumes(), "layer": s.place("layer")} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if group == "builds" {
				group = "staging"
			}
			if s.known(s.ds(group, e.Name())) == nil && !s.busyStaging(s.ds(group, e.Name())) {
				_ = os.Remove(dir + "/" + e.Name()) // not empty, or a mount point after all: not ours to judge
			}
		}
	}
	return nil
}

func (s *ZFS) sweepImages(ctx context.Context, l Listing, clones []Clone, keep Keep) (removed []string, err error) {
	wanted := slices.Clone(keep.Images)
	for _, c := range clones {
		wanted = append(wanted, c.ImageKey)
	}
	var images []Image
	for _, i := range l.Images {
		if slices.Contains(wanted, i.Key) {
			images = append(images, i)
			continue
		}
		if err := os.Remove(s.layout.image(strings.TrimPrefix(i.Key, keyPrefix))); err != nil && !errors.Is(err, os.ErrNotExist) {
			return removed, fmt.Errorf("remove image %s: %w", i.Key, err)
		}
		removed = append(removed, "image "+i.Key)
	}
	gone, err := s.dropLayers(ctx, l.Layers, s.needed(images, clones), keep.BaseOfAll)
	return append(removed, gone...), err
}
