package hostagent

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/rexcarcer/rexcarcer/jail"
	"github.com/rexcarcer/rexcarcer/netd"
)

// uplinks run the DHCP client of each router that has an interface outside: a
// jail of one program beside the router's own, in the same namespace. It may
// configure interfaces and send raw packets, which the router, that listens to
// everybody, may not. It outlives the daemon, and renews meanwhile.
type uplinks struct {
	a    *Agent
	open map[string]*router // by network; owned by networks.run
}

// uplinkID begins as a router's: what spares the one spares the other.
func uplinkID(netID string) string { return routerID(netID) + "-uplink" }

// inetOf puts the NIC into the networks whose routers have an address on it.
func (a *Agent) inetOf(c *netd.Config) {
	for i := range c.Networks {
		if n := &c.Networks[i]; n.NAT {
			n.Inet = a.c.InetNIC
		}
	}
}

// pass makes the clients those of want.
func (u *uplinks) pass(ctx context.Context, want netd.Config) error {
	if u.a.c.Router == nil {
		return nil
	}
	var errs []error
	wanted := map[string]bool{}
	for _, n := range want.Networks {
		if n.Inet == "" {
			continue
		}
		wanted[n.Name] = true
		if err := u.ensure(ctx, n); err != nil {
			errs = append(errs, fmt.Errorf("network %s: uplink by interface %s: %w", n.Name, n.Inet, err))
		}
	}
	for name, r := range u.open {
		if wanted[name] {
			continue
		}
		r.stop()
		delete(u.open, name)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		if err := u.a.c.Jails.Remove(ctx, r.spec.ID); err != nil {
			errs = append(errs, fmt.Errorf("remove the uplink of network %s: %w", name, err))
		}
		cancel()
	}
	return errors.Join(errs...)
}

// ensure starts the client of n, or adopts it, and keeps it alive.
func (u *uplinks) ensure(ctx context.Context, n netd.Network) error {
	spec, err := u.a.uplinkSpec(n)
	if err != nil {
		return err
	}
	if r := u.open[n.Name]; r != nil {
		if r.spec.Seq == spec.Seq {
			return nil
		}
		r.stop()
		delete(u.open, n.Name)
	}
	list, err := u.a.c.Jails.List(ctx)
	if err != nil {
		return err
	}
	for _, st := range list {
		if st.ID == spec.ID && st.Seq != spec.Seq {
			if err := u.a.c.Jails.Remove(ctx, spec.ID); err != nil {
				return fmt.Errorf("replace its DHCP client: %w", err)
			}
		}
	}
	if err := u.a.startRouter(ctx, spec); err != nil {
		return fmt.Errorf("start its DHCP client: %w", err)
	}
	r := &router{network: n.Name, spec: spec}
	keep, cancel := context.WithCancel(ctx)
	r.cancel = cancel
	r.done.Go(func() { u.a.keepRouter(keep, r) })
	u.open[n.Name] = r
	return nil
}

// wait lets the keepers end; the clients themselves go on.
func (u *uplinks) wait() {
	for _, r := range u.open {
		r.stop()
	}
}

// uplinkSpec is the client's jail: the daemon's own binary in the router's
// root, with two capabilities.
func (a *Agent) uplinkSpec(n netd.Network) (jail.Spec, error) {
	s, err := a.routerSpec(n)
	if err != nil {
		return jail.Spec{}, err
	}
	s.ID, s.UUID, s.Name = uplinkID(n.ID), uplinkID(n.ID), n.Name+"-uplink"
	s.Argv = []string{"/rexcarcer", "uplink", "-nic", netd.InetNIC}
	s.AddCaps = []string{"NET_ADMIN", "NET_RAW"}
	s.LogPath = filepath.Join(a.c.LogDir, n.Name+"-uplink.log")
	for i, m := range s.Mounts { // it hears nothing from the daemon
		if m.Target == "/run/net" {
			s.Mounts = append(s.Mounts[:i:i], s.Mounts[i+1:]...)
			break
		}
	}
	sum := sha256.Sum256([]byte(a.c.Router.Build + "\x00" + strings.Join(s.Argv, "\x00") + "\x00" + n.Inet + "\x00" + s.NetNS))
	s.Seq = binary.BigEndian.Uint64(sum[:8]) >> 1
	return s, nil
}
