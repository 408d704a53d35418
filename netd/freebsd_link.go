package netd

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// hostLinks says how many interfaces of the host have a name. A jail that dies gives its interfaces back without a check, so
// it may be two, and every command then hits the first of them.
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
	if l[name] == 0 {
		return iface{}, false, nil
	}
	if err := d.untangle(ctx, l, name); err != nil {
		return iface{}, false, err
	}
	x, ok, err = d.look(ctx, "", name)
	if err != nil || !ok {
		return x, ok, err
	}
	if _, ours := d.ours(x); ours {
		return x, true, nil
	}
	if slices.Contains(x.Groups, freebsdGroup) {
		return x, false, &foreignError{name}
	}
	// It came from a jail, whose root may name it at will: that keeps no jail of ours from its network.
	_, err = d.aside(ctx, l, name)
	return iface{}, false, err
}

// foreignError: somebody else's interface has a name of ours.
type foreignError struct{ name string }

func (e *foreignError) Error() string {
	return fmt.Sprintf("interface %s of the host is not ours, though it has a name of ours: rename or destroy it (ifconfig %s destroy)", e.name, e.name)
}

// untangle sees to it that one interface has the name. A rename always hits the first of several, which is the way out: all
// step aside, and ours gets its name back. Those that came back from a jail have lost our group on the way.
func (d *freebsd) untangle(ctx context.Context, l hostLinks, name string) error {
	if l[name] < 2 {
		return nil
	}
	ours := ""
	for l[name] > 0 {
		now, err := d.aside(ctx, l, name)
		if err != nil {
			return err
		}
		x, _, err := d.look(ctx, "", now)
		if err != nil {
			return err
		}
		if _, ok := d.ours(x); ok {
			ours = now
		}
	}
	if ours == "" {
		return nil
	}
	if _, err := d.run(ctx, ifconfigPath, ours, "name", name); err != nil {
		return fmt.Errorf("give interface %s its name back: %w", name, err)
	}
	l[name]++
	l[ours]--
	return nil
}

// aside renames the first interface of that name to one that nobody has.
func (d *freebsd) aside(ctx context.Context, l hostLinks, name string) (string, error) {
	for i := range 10 {
		free := prefixGone + name[2:len(name)-1] + strconv.Itoa(i)
		if l[free] > 0 {
			continue
		}
		if _, err := d.run(ctx, ifconfigPath, name, "name", free); err != nil {
			return "", fmt.Errorf("rename one of the %d interfaces named %s: %w", l[name], name, err)
		}
		d.o.Log.Warn("an interface that is not ours has a name of ours, or shares it: it steps aside", "interface", name, "renamed", free)
		l[name]--
		l[free]++
		return free, nil
	}
	return "", fmt.Errorf("%d interfaces of the host are named %s, and ten strangers were renamed already: destroy those named %s*", l[name], name, prefixGone)
}

// ours reads the mark of an interface of this instance. Our ends on the host are in our group; whatever has been in a jail is
// not, and its description may be anybody's.
func (d *freebsd) ours(x iface) (mark, bool) {
	m, ok := parseMark(x.Descr)
	return m, ok && !x.Forged && m.Instance == d.o.Instance && slices.Contains(x.Groups, freebsdGroup)
}

// marked reads the interfaces of the host in our group that carry our mark and whose name wanted accepts, sorted.
func (d *freebsd) marked(ctx context.Context, wanted func(name string) bool) ([]link, error) {
	l, err := d.links(ctx)
	if err != nil {
		return nil, err
	}
	out, err := d.run(ctx, ifconfigPath, "-g", freebsdGroup)
	if err != nil {
		return nil, fmt.Errorf("list interfaces of group %s: %w", freebsdGroup, err)
	}
	names := slices.DeleteFunc(strings.Fields(out), func(name string) bool { return !wanted(name) })
	slices.Sort(names)
	var found []link
	for _, name := range slices.Compact(names) {
		x, ok, err := d.own(ctx, l, name)
		if foreign := (*foreignError)(nil); errors.As(err, &foreign) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if m, ours := d.ours(x); ok && ours {
			found = append(found, link{x, m})
		}
	}
	return found, nil
}

// link is an interface of ours on the host.
type link struct {
	iface
	mark mark
}

var wgPattern = regexp.MustCompile(`^(wg|tun)[0-9]+$`)

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
