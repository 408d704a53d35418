package netd

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// ensureHolder makes the vnet jail name, if it is not there, with its loopback up.
func (d *freebsd) ensureHolder(ctx context.Context, name string) (fresh bool, err error) {
	jails, err := d.jails(ctx)
	if err != nil {
		return false, err
	}
	if path, there := jails[name]; there && path != "/" {
		return false, fmt.Errorf("jail %s has a name of ours, but its root is %s: rename it", name, path)
	} else if !there {
		err := d.makeHolder(ctx, name)
		if err != nil {
			return false, fmt.Errorf("make vnet jail %s: %w", name, err)
		}
		fresh = true
	}
	lo := end{name: "lo0", addrs: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8")}} // ::1 comes with up
	have := iface{}
	if !fresh { // a predecessor may have been killed right after it was made
		if have, _, err = d.look(ctx, name, "lo0"); err != nil {
			return false, err
		}
	}
	return fresh, d.raise(ctx, name, lo, have)
}

// makeHolder: enforce_statfs, raw sockets and System V IPC bound what its children may have; nothing runs in the holder
// itself. Children that are dying count as well, so their number is generous.
func (d *freebsd) makeHolder(ctx context.Context, name string) error {
	argv := []string{jailPath, "-c", "name=" + name, "path=/", "host.hostname=" + name, "vnet", "persist",
		"children.max=64", "enforce_statfs=0", "allow.raw_sockets"}
	_, err := d.run(ctx, slices.Concat(argv, []string{"sysvmsg=new", "sysvsem=new", "sysvshm=new"})...)
	if said(err, "unknown parameter: sysv") { // a kernel without it
		_, err = d.run(ctx, argv...)
	}
	return err
}

// jails are those that live, with their roots.
func (d *freebsd) jails(ctx context.Context) (map[string]string, error) {
	out, err := d.run(ctx, jlsPath, "-n", "--libxo", "json", "name", "path")
	if err != nil {
		return nil, fmt.Errorf("list jails: %w", err)
	}
	return parseJails(out)
}

// holders lists the ids of the holders whose names begin with prefix, sorted.
func (d *freebsd) holders(ctx context.Context, prefix string) ([]string, error) {
	jails, err := d.jails(ctx)
	if err != nil {
		return nil, err
	}
	ids := []string{}
	for name, path := range jails {
		if id, ok := strings.CutPrefix(name, prefix); ok && idPattern.MatchString(id) && path == "/" {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// removeHolder removes a vnet jail with all that runs in its children; one that is not there is success.
func (d *freebsd) removeHolder(ctx context.Context, name string) error {
	// jail -R gives processes ten seconds before it kills them.
	_, err := d.start(ctx, run.Cmd{Argv: []string{jailPath, "-R", name}, Timeout: toolTimeout + 30*time.Second})
	if err != nil && !said(err, "not found") {
		return fmt.Errorf("remove vnet jail %s: %w", name, err)
	}
	return nil
}

// gateway makes gw the default route in a holder.
func (d *freebsd) gateway(ctx context.Context, holder string, gw netip.Addr) error {
	return d.addRoute(ctx, holder, netip.PrefixFrom(gw, 0).Masked(), gw)
}

// addRoute makes to lead to gw in a holder.
func (d *freebsd) addRoute(ctx context.Context, holder string, to netip.Prefix, gw netip.Addr) error {
	dst := []string{"-net", to.String()}
	if to.Bits() == 0 {
		dst = []string{"default"}
	}
	if to.Addr().Is6() {
		dst = append([]string{"-inet6"}, dst...)
	}
	out, err := d.within(ctx, holder, slices.Concat([]string{routePath, "add"}, dst, []string{gw.String()})...)
	if said(err, "File exists") || strings.Contains(out, "already in table") { // to somewhere else, perhaps
		_, err = d.within(ctx, holder, slices.Concat([]string{routePath, "change"}, dst, []string{gw.String()})...)
	}
	if err != nil {
		return fmt.Errorf("route to %v in %s: %w", to, holder, err)
	}
	return nil
}
