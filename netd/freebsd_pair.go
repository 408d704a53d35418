package netd

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// pairWish is a pair of interfaces, one end on the host and one in a holder.
type pairWish struct {
	mark   mark
	mtu    int // bytes
	bridge string
	host   end
	inside end
	holder string
}

// end is one side of a pair.
type end struct {
	name  string
	mac   MAC // zero: the kernel's
	addrs []netip.Prefix
}

// pair makes w so.
func (d *freebsd) pair(ctx context.Context, l hostLinks, w pairWish) error {
	x, there, err := d.own(ctx, l, w.host.name)
	if err != nil {
		return err
	}
	if there {
		in, ok, err := d.look(ctx, w.holder, w.inside.name)
		if err != nil {
			return err
		}
		if ok && x.Descr == w.mark.String() {
			return d.correct(ctx, w, x, in)
		}
		// The other end is still on the host, or went with a jail that died, or it is a port of another bridge: begin again.
		if err := d.destroy(ctx, "", w.host.name); err != nil {
			return err
		}
	}
	return d.makePair(ctx, w)
}

// makePair makes a new one. The host's end gets its name before the other one does: whoever is killed on the way has left
// either a pair with the kernel's names, which is in nobody's way until a sweep, or one that is found by the host's end.
func (d *freebsd) makePair(ctx context.Context, w pairWish) (err error) {
	a, err := d.create(ctx, "epair", w.mark)
	if err != nil {
		return err
	}
	b := strings.TrimSuffix(a, "a") + "b"
	made := a
	defer func() {
		if err != nil {
			err = errors.Join(err, d.destroy(context.WithoutCancel(ctx), "", made))
		}
	}()
	set := func(argv ...string) {
		if err == nil {
			_, err = d.run(ctx, append([]string{ifconfigPath}, argv...)...)
		}
	}
	mtu := strconv.Itoa(w.mtu)
	for _, e := range []struct {
		now string
		end
	}{{b, w.inside}, {a, w.host}} {
		if e.mac != (MAC{}) {
			set(e.now, "ether", e.mac.String())
		}
		if w.mtu != 1500 {
			set(e.now, "mtu", mtu)
		}
	}
	set(a, "name", w.host.name)
	if err == nil {
		made = w.host.name
	}
	set(b, "descr", w.mark.String(), "name", w.inside.name)
	if err != nil {
		return fmt.Errorf("name interfaces %s and %s: %w", w.host.name, w.inside.name, err)
	}
	set(w.inside.name, "vnet", w.holder)
	if said(err, "SIOCSIFVNET: File exists") { // an end whose pair has lost its name on the host
		if err = d.destroy(ctx, w.holder, w.inside.name); err == nil {
			set(w.inside.name, "vnet", w.holder)
		}
	}
	if err != nil {
		return fmt.Errorf("move interface %s to %s: %w", w.inside.name, w.holder, err)
	}
	if err := d.raise(ctx, "", w.host, iface{}); err != nil {
		return err
	}
	if err := d.join(ctx, w.bridge, w.host.name); err != nil {
		return err
	}
	return d.raise(ctx, w.holder, w.inside, iface{})
}

// correct makes an existing pair as w says.
func (d *freebsd) correct(ctx context.Context, w pairWish, host, in iface) error {
	if w.inside.mac != (MAC{}) && in.Ether != w.inside.mac {
		if _, err := d.within(ctx, w.holder, ifconfigPath, w.inside.name, "ether", w.inside.mac.String()); err != nil {
			return fmt.Errorf("set MAC %v of interface %s: %w", w.inside.mac, w.inside.name, err)
		}
	}
	if in.MTU != w.mtu {
		if _, err := d.within(ctx, w.holder, ifconfigPath, w.inside.name, "mtu", strconv.Itoa(w.mtu)); err != nil {
			return fmt.Errorf("set MTU %d of interface %s: %w", w.mtu, w.inside.name, err)
		}
	}
	if host.MTU != w.mtu { // a member follows its bridge, and cannot be set; the first to join would lead it
		_, err := d.run(ctx, ifconfigPath, w.host.name, "mtu", strconv.Itoa(w.mtu))
		if err != nil && (w.bridge == "" || !said(err, "Operation not supported")) {
			return fmt.Errorf("set MTU %d of interface %s: %w", w.mtu, w.host.name, err)
		}
	}
	if err := d.raise(ctx, "", w.host, host); err != nil {
		return err
	}
	if err := d.join(ctx, w.bridge, w.host.name); err != nil {
		return err
	}
	return d.raise(ctx, w.holder, w.inside, in)
}

// join makes an interface a member of a bridge.
func (d *freebsd) join(ctx context.Context, bridge, name string) error {
	if bridge == "" {
		return nil
	}
	_, err := d.run(ctx, ifconfigPath, bridge, "addm", name)
	if err != nil && !said(err, "BRDGADD "+name+": File exists") { // the rest of the line differs between releases
		return fmt.Errorf("connect interface %s with bridge %s: %w", name, bridge, err)
	}
	return nil
}

// raise gives an interface exactly the addresses of e, and brings it up. have is how it was found. The kernel's own addresses
// stay: link-local IPv6, and ::1 of a loopback.
func (d *freebsd) raise(ctx context.Context, holder string, e end, have iface) error {
	for _, s := range raiseSteps(e, have) {
		if _, err := d.within(ctx, holder, slices.Concat([]string{ifconfigPath, e.name}, s)...); err != nil {
			return fmt.Errorf("configure interface %s: %w", e.name, err)
		}
	}
	return nil
}

func raiseSteps(e end, have iface) [][]string {
	is6 := func(p netip.Prefix) bool { return p.Addr().Is6() }
	is4 := func(p netip.Prefix) bool { return p.Addr().Is4() }
	var steps [][]string
	left := slices.Clone(have.Addrs)
	for _, p := range have.Addrs { // first, because an address may come back with another length
		kernels := is6(p) && (p.Addr().IsLinkLocalUnicast() || p.Addr().IsLoopback())
		if !kernels && !slices.Contains(e.addrs, p) {
			steps = append(steps, []string{afName(p.Addr()), p.Addr().String(), "-alias"})
			left = slices.DeleteFunc(left, func(q netip.Prefix) bool { return q == p })
		}
	}
	if slices.ContainsFunc(e.addrs, is6) && !slices.ContainsFunc(have.Addrs, is6) {
		// New interfaces have IPv6 disabled. Addresses are leased, so nobody else has them: without the duplicate check
		// they can be used at once.
		steps = append(steps, []string{"inet6", "-ifdisabled", "no_dad"})
	}
	up := have.Up
	for _, p := range e.addrs {
		switch {
		case slices.Contains(left, p):
		case is4(p) && !slices.ContainsFunc(left, is4):
			steps = append(steps, []string{"inet", p.String(), "up"})
			left, up = append(left, p), true
		default:
			steps = append(steps, []string{afName(p.Addr()), p.String(), "alias"})
		}
	}
	if !up {
		steps = append(steps, []string{"up"})
	}
	return steps
}

func afName(a netip.Addr) string {
	if a.Is4() {
		return "inet"
	}
	return "inet6"
}
