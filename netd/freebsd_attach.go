package netd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Attach makes the vnet jail of a jail with its interfaces, and returns its name.
func (d *freebsd) Attach(ctx context.Context, c NSConfig) (holder string, err error) {
	defer d.m.observe("attach", time.Now(), &err)
	if err := ctx.Err(); err != nil {
		return "", err
	}
	c.Ports = slices.Clone(c.Ports)
	slices.SortFunc(c.Ports, func(a, b Port) int { return a.NIC - b.NIC })
	defer d.busy.lock(c.ID)()
	d.mu.RLock()
	defer d.mu.RUnlock()
	if err := c.check(d.nets); err != nil {
		return "", err
	}
	holder = d.jailHolder(c.ID)
	fresh, err := d.attach(ctx, c, holder)
	if err == nil {
		return holder, nil
	}
	err = fmt.Errorf("jail %s (%s): attach to networks: %w", c.Name, c.ID, err)
	if fresh { // nothing was there before: leave nothing
		err = errors.Join(err, d.detach(context.WithoutCancel(ctx), c.ID))
	}
	return "", err
}

func (d *freebsd) attach(ctx context.Context, c NSConfig, holder string) (fresh bool, err error) {
	l, err := d.links(ctx)
	if err != nil {
		return false, err
	}
	if fresh, err = d.ensureHolder(ctx, holder); err != nil {
		return fresh, err
	}
	// What is not as wanted goes first: two ports may have changed their networks with each other.
	wanted := map[string]string{}
	for _, p := range c.Ports {
		wanted[jailPort(c.ID, p.NIC)] = d.portMark(c.ID, p).String()
	}
	for _, name := range portsOf(l, c.ID) {
		x, ok, err := d.own(ctx, l, name)
		if err != nil {
			return fresh, err
		}
		if ok && x.Descr != wanted[name] {
			if err := d.destroy(ctx, "", name); err != nil {
				return fresh, err
			}
			delete(l, name)
		}
	}
	for i, p := range c.Ports {
		if err := d.attachPort(ctx, l, c.ID, p, holder, i == 0); err != nil {
			return fresh, fmt.Errorf("nic %d in network %s: %w", p.NIC, p.Network, err)
		}
	}
	return fresh, nil
}

// attachPort connects one interface, or corrects it. The MAC is the one that the cluster has leased the address to: the
// kernel's own would differ with each boot before 15.
func (d *freebsd) attachPort(ctx context.Context, l hostLinks, id string, p Port, holder string, first bool) error {
	n := d.nets[p.Network]
	mac := p.mac(id)
	w := pairWish{
		mark: d.portMark(id, p), mtu: n.mtu(), bridge: bridgeName(n.ID), holder: holder,
		host:   end{name: jailPort(id, p.NIC)},
		inside: end{name: insideName(id, p.NIC), mac: mac, addrs: prefixes(p.Addr, n.Subnet, p.Addr6, n.Subnet6)},
	}
	if err := d.pair(ctx, l, w); err != nil {
		return err
	}
	if !first {
		return nil
	}
	if err := d.gateway(ctx, holder, n.Gateway()); err != nil {
		return err
	}
	if p.Addr6.IsValid() {
		return d.gateway(ctx, holder, n.Gateway6())
	}
	return nil
}

func (d *freebsd) portMark(id string, p Port) mark {
	return mark{Instance: d.o.Instance, Network: d.nets[p.Network].ID, Jail: id, MAC: p.mac(id), Addr: p.Addr, Addr6: p.Addr6}
}

// portsOf lists the host ends of a jail by their names, sorted.
func portsOf(l hostLinks, id string) []string {
	var out []string
	for name := range l {
		if rest, ok := strings.CutPrefix(name, prefixJail+id); ok && len(rest) == 1 && rest[0] >= '0' && rest[0] <= '9' {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// Detach cuts a jail off.
func (d *freebsd) Detach(ctx context.Context, id string) (err error) {
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
	if err := d.detach(ctx, id); err != nil {
		return fmt.Errorf("detach jail %s: %w", id, err)
	}
	return nil
}

// detach removes the holder first, and whatever still runs in it, and then the pairs, wherever their other ends are: in a jail
// that is dying for another minute (a connection in TIME_WAIT holds it), or on the host again.
func (d *freebsd) detach(ctx context.Context, id string) error {
	if err := d.removeHolder(ctx, d.jailHolder(id)); err != nil {
		return err
	}
	l, err := d.links(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range portsOf(l, id) {
		errs = append(errs, d.destroyOwn(ctx, l, name))
	}
	return errors.Join(errs...)
}

// destroyOwn removes an interface with a name of ours if it is ours.
func (d *freebsd) destroyOwn(ctx context.Context, l hostLinks, name string) error {
	_, ok, err := d.own(ctx, l, name)
	if foreign := (*foreignError)(nil); errors.As(err, &foreign) {
		return nil
	}
	if err != nil || !ok {
		return err
	}
	return d.destroy(ctx, "", name)
}
