package netd

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Detach cuts a jail off.
func (d *linux) Detach(ctx context.Context, id string) (err error) {
	defer d.m.observe("detach", time.Now(), &err)
	if err := ctx.Err(); err != nil {
		return err
	}
	if !idPattern.MatchString(id) {
		return fmt.Errorf("detach jail: id %q is not 8 hex digits", id)
	}
	defer d.busy.lock(id)()
	d.mu.RLock()
	defer d.mu.RUnlock()
	if err := d.detach(id); err != nil {
		return fmt.Errorf("detach jail %s: %w", id, err)
	}
	return nil
}

// detach lets the ports of a jail send nothing more, takes the namespace's name away, and leaves the links to the reaper.
// The port stays in the set of guarded ports until its link is gone: a port that is not in it may send anything.
func (d *linux) detach(id string) error {
	d.pinMu.Lock()
	old := d.pins[id]
	d.pinMu.Unlock()
	if err := d.unpin(old, setMACs, setAddr4, setAddr6); err != nil {
		return err
	}
	d.step("unpinned")
	ends, err := d.hostEnds(id, old)
	if err != nil {
		return err
	}
	if err := removeNS(d.jailPath(id)); err != nil {
		return err
	}
	d.step("ns-removed")
	d.pinMu.Lock()
	delete(d.pins, id)
	d.pinMu.Unlock()
	d.reaper.add(ends...)
	return nil
}

// hostEnds finds the links of a jail on the host: by what is remembered of it, else by all names that it may have.
func (d *linux) hostEnds(id string, known []pin) (ends []doomed, err error) {
	names := make([]string, 0, 10)
	for _, p := range known {
		names = append(names, p.Link)
	}
	for nic := 0; nic < 10 && len(known) == 0; nic++ {
		names = append(names, jailPort(id, nic))
	}
	err = d.rt.with(func(c *conn) error {
		for _, name := range names {
			index, alias, err := c.get(name)
			if err != nil {
				return err
			}
			if m, ok := parseMark(alias); index != 0 && ok && m.Instance == d.o.Instance {
				ends = append(ends, doomed{index: index, jail: id, link: name})
			}
		}
		return nil
	})
	return ends, err
}

// unguard forgets the port of a link that is gone, unless the jail is attached again.
func (d *linux) unguard(x doomed) error {
	if x.jail == "" {
		return nil
	}
	defer d.busy.lock(x.jail)()
	d.mu.RLock()
	defer d.mu.RUnlock()
	d.pinMu.Lock()
	again := slices.ContainsFunc(d.pins[x.jail], func(p pin) bool { return p.Link == x.link })
	d.pinMu.Unlock()
	if again {
		return nil
	}
	return d.unpin([]pin{{Link: x.link}}, setPorts)
}
