package zfssync

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// List implements Store.
func (o *Overlay) List(ctx context.Context) (Listing, error) {
	var l Listing
	for _, read := range []func(*Listing) error{o.listImages, o.listLayers, o.listClones, o.listVolumes, o.listLeftovers} {
		if err := ctx.Err(); err != nil {
			return l, err
		}
		if err := read(&l); err != nil {
			return l, fmt.Errorf("list store: %w", err)
		}
	}
	return l, nil
}

func (o *Overlay) listImages(l *Listing) error { return listImages(o.layout, l) }

func (o *Overlay) listLayers(l *Listing) error {
	entries, err := os.ReadDir(o.layers())
	if err != nil {
		return err
	}
	for _, e := range entries {
		if hexRE.MatchString(e.Name()) {
			l.Layers = append(l.Layers, keyPrefix+e.Name())
		}
	}
	return nil
}

func (o *Overlay) listClones(l *Listing) error {
	entries, err := os.ReadDir(o.jails())
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !uuidRE.MatchString(e.Name()) {
			continue
		}
		c := Clone{UUID: e.Name(), Root: o.root(e.Name())}
		var rec cloneRecord
		if readJSON(filepath.Join(o.jail(c.UUID), "clone.json"), &rec) == nil { // half made otherwise: still listed
			c.ImageKey, c.Options = rec.ImageKey, rec.Options
		}
		if c.Mounted, err = isMounted(c.Root); err != nil {
			return err
		}
		l.Clones = append(l.Clones, c)
	}
	return nil
}

func (o *Overlay) listVolumes(l *Listing) error {
	entries, err := os.ReadDir(o.volumes())
	if err != nil {
		return err
	}
	for _, e := range entries {
		l.Volumes = append(l.Volumes, VolumeID(e.Name()))
	}
	return nil
}

func (o *Overlay) listLeftovers(l *Listing) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, dir := range []string{o.staging(), o.trash()} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if p := filepath.Join(dir, e.Name()); !o.active[p] {
				l.Leftovers = append(l.Leftovers, p)
			}
		}
	}
	return nil
}

// Sweep implements Store. One thing that cannot be removed does not keep the rest; its error is returned at the end.
func (o *Overlay) Sweep(ctx context.Context, keep Keep) (removed []string, err error) {
	l, err := o.List(ctx)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, p := range l.Leftovers {
		if err := o.removeLeftover(p); err != nil {
			errs = append(errs, fmt.Errorf("remove leftover %s: %w", p, err))
			continue
		}
		removed = append(removed, "leftover "+p)
	}
	var stay []Clone
	for _, c := range l.Clones {
		if keep.AllJails || slices.Contains(keep.Jails, c.UUID) {
			stay = append(stay, c)
			continue
		}
		if err := o.Destroy(ctx, c.UUID); err != nil {
			errs = append(errs, err)
			stay = append(stay, c)
			continue
		}
		removed = append(removed, "clone of jail "+c.UUID)
	}
	if keep.Images != nil && len(errs) == 0 {
		gone, err := o.sweepImages(l, stay, keep)
		removed = append(removed, gone...)
		errs = append(errs, err)
	}
	return removed, errors.Join(errs...)
}

func (o *Overlay) sweepImages(l Listing, clones []Clone, keep Keep) (removed []string, err error) {
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
		if err := os.Remove(o.layout.image(strings.TrimPrefix(i.Key, keyPrefix))); err != nil && !errors.Is(err, os.ErrNotExist) {
			return removed, fmt.Errorf("remove image %s: %w", i.Key, err)
		}
		removed = append(removed, "image "+i.Key)
	}
	gone, err := o.dropLayers(l.Layers, o.needed(Listing{Images: images, Clones: clones}), keep.BaseOfAll)
	return append(removed, gone...), err
}

// removeLeftover unmounts whatever a dead builder had mounted below path before it deletes, so that nothing is deleted
// through a mount. A debootstrap that outlived its daemon may still write there: renamed away, it finds nothing more.
func (o *Overlay) removeLeftover(path string) error {
	if err := o.unmountBelow(path); err != nil {
		return err
	}
	if filepath.Dir(path) == o.staging() {
		return o.discard(path)
	}
	return os.RemoveAll(path)
}

// unmountBelow takes down every mount at and below path, the youngest first.
func (o *Overlay) unmountBelow(path string) error {
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(path))
	if err != nil {
		return fmt.Errorf("read mounts: %w", err)
	}
	for _, m := range slices.Backward(mounts) {
		if m.Mountpoint == o.dir {
			continue // the data directory may be a mount point of the user's
		}
		if err := unmountAll(m.Mountpoint); err != nil {
			return err
		}
	}
	return nil
}

// Teardown implements Store.
func (o *Overlay) Teardown(context.Context) error {
	if err := o.unmountBelow(o.dir); err != nil {
		return fmt.Errorf("unmount all below %s: %w", o.dir, err)
	}
	return nil
}
