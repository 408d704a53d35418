package netd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// removeUnwanted removes networks of ours that are not in wanted.
func (d *linux) removeUnwanted(l links, wanted []Network) error {
	keep := func(id string) bool {
		return slices.ContainsFunc(wanted, func(n Network) bool { return n.ID == id })
	}
	var doomed []int
	for index, m := range l.marks {
		if m.Instance == d.o.Instance && !keep(m.Network) && slices.Contains([]string{markBridge, markRouter, markUplink, markSegment}, m.Jail) {
			doomed = append(doomed, index)
			delete(l.byName, l.byIndex[index].Attrs().Name)
			delete(l.byIndex, index)
		}
	}
	for _, i := range doomed {
		delete(l.marks, i)
	}
	if err := d.deleteLinks(doomed); err != nil {
		return fmt.Errorf("remove networks: %w", err)
	}
	d.step("links-removed")
	ids, err := listNS(d.routerDir())
	if err != nil {
		return err
	}
	for _, id := range ids {
		if keep(id) {
			continue
		}
		if err := removeNS(d.routerPath(id)); err != nil {
			return err
		}
		delete(d.applied, d.routerPath(id))
		d.o.Log.Info("network removed", "id", id)
	}
	return nil
}

// Sweep detaches all jails but those in keep.
func (d *linux) Sweep(ctx context.Context, keep []string) (err error) {
	defer d.m.observe("sweep", time.Now(), &err)
	d.setMu.Lock()
	defer d.setMu.Unlock()
	ids, err := d.List(ctx)
	if err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	l, err := d.scan()
	if err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	var left []int
	for index, m := range l.marks {
		switch {
		case m.Instance != d.o.Instance:
		case m.Jail == markGone:
			left = append(left, index)
		case idPattern.MatchString(m.Jail) && !slices.Contains(keep, m.Jail):
			ids = append(ids, m.Jail)
			left = append(left, index)
		}
	}
	slices.Sort(ids)
	var errs []error
	for _, id := range slices.Compact(ids) {
		switch {
		case slices.Contains(keep, id):
		case !idPattern.MatchString(id): // not a name that we give: a file that somebody put there
			d.o.Log.Warn("foreign file among the namespaces", "path", d.jailPath(id))
		default:
			errs = append(errs, d.Detach(ctx, id))
		}
	}
	errs = append(errs, d.deleteLinks(left))
	return errors.Join(errs...)
}

// Teardown removes everything of this instance.
func (d *linux) Teardown(ctx context.Context) error {
	if err := d.Sweep(ctx, nil); err != nil {
		return fmt.Errorf("tear down: %w", err)
	}
	if err := d.reaper.close(); err != nil {
		return fmt.Errorf("tear down: %w", err)
	}
	d.setMu.Lock()
	defer d.setMu.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	l, err := d.scan()
	if err != nil {
		return fmt.Errorf("tear down: %w", err)
	}
	errs := []error{d.dropWays(l), d.removeUnwanted(l, nil)}
	d.reserve(nil)
	errs = append(errs, d.nft(ctx, d.o.HostNS, dropTables(d.table)), d.restoreForward(l))
	clear(d.applied)
	clear(d.nets)
	d.pinMu.Lock()
	clear(d.pins)
	d.pinMu.Unlock()
	errs = append(errs, removeNSDir(d.jailDir()), removeNSDir(d.routerDir()))
	// The daemon may keep other things there.
	if err := os.Remove(d.o.RunDir); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTEMPTY) {
		errs = append(errs, fmt.Errorf("tear down: %w", err))
	}
	return errors.Join(errs...)
}
