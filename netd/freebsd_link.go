package netd

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// hostLinks are the interfaces of the host by name, with how many carry it. A jail that dies gives its interfaces back
// without a check, so two may have one name, and every command then hits the first of them.
type hostLinks map[string]int

func (d *freebsd) links(ctx context.Context) (hostLinks, error) {
	out, err := d.run(ctx, ifconfigPath, "-l")
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	l := hostLinks{}
	for _, name := range strings.Fields(out) {
		l[name]++
	}
	return l, nil
}

// look reads one interface in the network of holder, "" being the host's; ok is false when it is not there.
func (d *freebsd) look(ctx context.Context, holder, name string) (x iface, ok bool, err error) {
	out, err := d.within(ctx, holder, ifconfigPath, "-f", "inet:cidr,inet6:cidr", name)
	if said(err, "interface "+name+" does not exist") {
		return iface{}, false, nil
	}
	if err != nil {
		return iface{}, false, fmt.Errorf("look at interface %s: %w", name, err)
	}
	x, err = parseIface(name, out)
	return x, err == nil, err
}

// own reads an interface of the host that has a name of ours: absent, or ours and alone, or an error that says what to do.
func (d *freebsd) own(ctx context.Context, l hostLinks, name string) (x iface, ok bool, err error) {
	switch {
	case l[name] == 0:
		return iface{}, false, nil
	case l[name] > 1:
		return iface{}, false, fmt.Errorf("%d interfaces of the host are named %s, one of them came back from a jail: "+
			"look at both by renaming (ifconfig %s name other0) and destroy the one that is not described as rexcarcer's", l[name], name, name)
	}
	x, ok, err = d.look(ctx, "", name)
	if err != nil || !ok {
		return x, ok, err
	}
	if _, ours := d.ours(x); !ours {
		return x, false, fmt.Errorf("interface %s of the host is not ours, though it has a name of ours: rename or destroy it (ifconfig %s destroy)", name, name)
	}
	return x, true, nil
}

// ours reads the mark of an interface of this instance.
func (d *freebsd) ours(x iface) (mark, bool) {
	m, ok := parseMark(x.Descr)
	return m, ok && !x.Forged && m.Instance == d.o.Instance
}

// marked lists the interfaces of the host in our group that carry our mark and whose name wanted accepts. Names that occur
// twice are left alone: which of both a command would hit is not to be known.
func (d *freebsd) marked(ctx context.Context, wanted func(name string) bool) (map[string]mark, map[string]iface, error) {
	l, err := d.links(ctx)
	if err != nil {
		return nil, nil, err
	}
	out, err := d.run(ctx, ifconfigPath, "-g", freebsdGroup)
	if err != nil {
		return nil, nil, fmt.Errorf("list interfaces of group %s: %w", freebsdGroup, err)
	}
	marks, links := map[string]mark{}, map[string]iface{}
	for _, name := range strings.Fields(out) {
		if l[name] > 1 {
			d.o.Log.Warn("several interfaces have one name, none of them is touched", "interface", name)
		}
		if l[name] != 1 || !wanted(name) {
			continue
		}
		x, ok, err := d.look(ctx, "", name)
		if err != nil {
			return nil, nil, err
		}
		if m, ours := d.ours(x); ok && ours {
			marks[name], links[name] = m, x
		}
	}
	return marks, links, nil
}

var clonePattern = regexp.MustCompile(`^(epair[0-9]+a|bridge[0-9]+)$`)

// create makes an interface of a kind with its mark and returns the kernel's name for it. ifconfig may have made it even
// when it fails later in the line, and tells so on standard output: then it is destroyed.
func (d *freebsd) create(ctx context.Context, kind string, m mark) (string, error) {
	out, err := d.run(ctx, ifconfigPath, kind, "create", "descr", m.String(), "group", freebsdGroup)
	name := strings.TrimSpace(out)
	if made := clonePattern.MatchString(name); err != nil || !made {
		err = fmt.Errorf("make %s interface: %w", kind, orText(err, name))
		if made {
			err = errors.Join(err, d.destroy(context.WithoutCancel(ctx), "", name))
		}
		return "", err
	}
	return name, nil
}

func orText(err error, text string) error {
	if err == nil {
		err = fmt.Errorf("ifconfig named it %q", cutText(text))
	}
	return err
}

// destroy removes an interface, and with one end of a pair the other, wherever that is. One that is gone is success.
func (d *freebsd) destroy(ctx context.Context, holder, name string) error {
	_, err := d.within(ctx, holder, ifconfigPath, name, "destroy")
	if err != nil && !said(err, "does not exist") {
		return fmt.Errorf("destroy interface %s: %w", name, err)
	}
	return nil
}

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

// pair makes w so. It says whether the inside is new, and so without routes.
func (d *freebsd) pair(ctx context.Context, l hostLinks, w pairWish) (fresh bool, err error) {
	x, there, err := d.own(ctx, l, w.host.name)
	if err != nil {
		return false, err
	}
	if there {
		in, ok, err := d.look(ctx, w.holder, w.inside.name)
		if err != nil {
			return false, err
		}
		if ok {
			return false, d.correct(ctx, w, x, in)
		}
		// The other end is still on the host, or went with a jail that died: begin again.
		if err := d.destroy(ctx, "", w.host.name); err != nil {
			return false, err
		}
	}
	return true, d.makePair(ctx, w)
}

// makePair makes a new one. What carries the names comes last on the host, so that a predecessor that was killed has left
// either a pair with the kernel's names and our mark, or all of it but the move.
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
	set(b, "descr", w.mark.String(), "name", w.inside.name)
	set(a, "name", w.host.name)
	if err != nil {
		return fmt.Errorf("name interfaces %s and %s: %w", w.host.name, w.inside.name, err)
	}
	made = w.host.name
	set(w.inside.name, "vnet", w.holder)
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
	if host.Descr != w.mark.String() {
		if _, err := d.run(ctx, ifconfigPath, w.host.name, "descr", w.mark.String()); err != nil {
			return fmt.Errorf("describe interface %s: %w", w.host.name, err)
		}
	}
	if w.inside.mac != (MAC{}) && in.Ether != w.inside.mac {
		if _, err := d.within(ctx, w.holder, ifconfigPath, w.inside.name, "ether", w.inside.mac.String()); err != nil {
			return fmt.Errorf("set MAC %v of interface %s: %w", w.inside.mac, w.inside.name, err)
		}
	}
	// The host's end follows its bridge, and cannot be set while it is a member.
	if in.MTU != w.mtu {
		if _, err := d.within(ctx, w.holder, ifconfigPath, w.inside.name, "mtu", strconv.Itoa(w.mtu)); err != nil {
			return fmt.Errorf("set MTU %d of interface %s: %w", w.mtu, w.inside.name, err)
		}
	}
	if host.MTU != w.mtu && w.bridge == "" {
		if _, err := d.run(ctx, ifconfigPath, w.host.name, "mtu", strconv.Itoa(w.mtu)); err != nil {
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

// raise gives an interface exactly the addresses of e, and brings it up. have is how it was found.
func (d *freebsd) raise(ctx context.Context, holder string, e end, have iface) error {
	var extra []netip.Prefix
	for _, p := range have.Addrs {
		linkLocal := p.Addr().Is6() && p.Addr().IsLinkLocalUnicast() // the kernel's own
		if !linkLocal && !slices.Contains(e.addrs, p) {
			extra = append(extra, p)
		}
	}
	var steps [][]string
	for _, p := range extra { // first, because an address may come back with another length
		steps = append(steps, []string{afName(p.Addr()), p.Addr().String(), "-alias"})
	}
	six := slices.ContainsFunc(e.addrs, func(p netip.Prefix) bool { return p.Addr().Is6() })
	if six && !slices.ContainsFunc(have.Addrs, func(p netip.Prefix) bool { return p.Addr().Is6() }) {
		// New interfaces have IPv6 disabled. Addresses are leased, so nobody else has them: without the duplicate check
		// they can be used at once.
		steps = append(steps, []string{"inet6", "-ifdisabled", "no_dad"})
	}
	for _, p := range e.addrs {
		if !slices.Contains(have.Addrs, p) {
			steps = append(steps, []string{afName(p.Addr()), p.String(), "alias"})
		}
	}
	if !have.Up {
		steps = append(steps, []string{"up"})
	}
	for _, s := range steps {
		if _, err := d.within(ctx, holder, slices.Concat([]string{ifconfigPath, e.name}, s)...); err != nil {
			return fmt.Errorf("configure interface %s: %w", e.name, err)
		}
	}
	return nil
}

func afName(a netip.Addr) string {
	if a.Is4() {
		return "inet"
	}
	return "inet6"
}
