package netd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// removeUnwanted removes networks of ours that are not in wanted, and returns the links that stay. A network is found by
// its links, its router or its anchor: whatever a killed predecessor has left of it.
func (d *freebsd) removeUnwanted(ctx context.Context, found []link, wanted []Network) (stay []link, err error) {
	keep := func(id string) bool {
		return slices.ContainsFunc(wanted, func(n Network) bool { return n.ID == id })
	}
	routers, err := d.holders(ctx, d.routerHolder(""))
	if err != nil {
		return found, fmt.Errorf("remove networks: %w", err)
	}
	filled, err := d.anchors(ctx)
	if err != nil {
		return found, fmt.Errorf("remove networks: %w", err)
	}
	// An anchor that this process has emptied goes on being listed.
	filled = slices.DeleteFunc(filled, func(id string) bool { return d.emptied[id] })
	doomed := slices.DeleteFunc(slices.Concat(routers, filled), keep)
	var errs []error
	for _, l := range found {
		// An Attach may be at work on what belongs to a jail.
		// The overlay's device is netd/mesh's, once it has its name.
		if idPattern.MatchString(l.mark.Jail) || l.mark.Network == markMesh && !wgPattern.MatchString(l.Name) || keep(l.mark.Network) && !unfinished(l.Name) {
			stay = append(stay, l)
			continue
		}
		errs = append(errs, d.destroy(ctx, "", l.Name))
	}
	slices.Sort(doomed)
	for _, id := range slices.Compact(doomed) {
		holder := d.routerHolder(id)
		if slices.Contains(routers, id) {
			// Links between routers have no end on the host.
			errs = append(errs, d.dropPeers(ctx, holder, nil), d.removeHolder(ctx, holder))
		}
		if slices.Contains(filled, id) {
			errs = append(errs, d.flush(ctx, id))
		}
		delete(d.applied, pfTarget{holder: holder}.String())
		d.o.Log.Info("network removed", "id", id)
	}
	if err := errors.Join(errs...); err != nil {
		return stay, fmt.Errorf("remove networks: %w", err)
	}
	return stay, nil
}

// unfinished: the kernel named it, or it stood aside, and whoever did so was killed before naming it; or it is on its way
// into a router.
func unfinished(name string) bool {
	return clonePattern.MatchString(name) || strings.HasPrefix(name, prefixGone) || strings.HasPrefix(name, prefixPeer)
}

// Sweep detaches all jails but those in keep.
func (d *freebsd) Sweep(ctx context.Context, keep []string) (err error) {
	defer d.m.observe("sweep", time.Now(), &err)
	d.setMu.Lock()
	defer d.setMu.Unlock()
	ids, err := d.List(ctx)
	if err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	left, err := d.leftovers(ctx, keep)
	if err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	ids = slices.Concat(ids, left)
	slices.Sort(ids)
	var errs []error
	for _, id := range slices.Compact(ids) {
		if !slices.Contains(keep, id) {
			errs = append(errs, d.Detach(ctx, id))
		}
	}
	return errors.Join(errs...)
}

// leftovers destroys what was never finished, and lists the jails that are not in keep and have links on the host. No Attach
// runs meanwhile: its pairs look unfinished for a moment.
func (d *freebsd) leftovers(ctx context.Context, keep []string) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	found, err := d.marked(ctx, func(name string) bool { return !notOfJails(name) || unfinished(name) })
	if err != nil {
		return nil, err
	}
	var ids []string
	var errs []error
	for _, l := range found {
		switch {
		case unfinished(l.Name):
			errs = append(errs, d.destroy(ctx, "", l.Name))
		case idPattern.MatchString(l.mark.Jail) && !slices.Contains(keep, l.mark.Jail):
			ids = append(ids, l.mark.Jail)
		}
	}
	return ids, errors.Join(errs...)
}

// Teardown removes everything of this instance.
func (d *freebsd) Teardown(ctx context.Context) error {
	if err := d.Sweep(ctx, nil); err != nil {
		return fmt.Errorf("tear down: %w", err)
	}
	d.setMu.Lock()
	defer d.setMu.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	found, err := d.marked(ctx, notOfJails)
	if err != nil {
		return fmt.Errorf("tear down: %w", err)
	}
	_, err = d.removeUnwanted(ctx, found, nil)
	errs := []error{err, d.relays.close()}
	clear(d.applied)
	clear(d.nets)
	d.told = ""
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("tear down: %w", err)
	}
	return nil
}
