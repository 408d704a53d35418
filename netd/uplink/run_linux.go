package uplink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// How patient it is.
const (
	askTimeout = 3 * time.Second // for one answer; each question is asked three times
	retryFirst = time.Second
	retryMost  = time.Minute
)

// Run keeps an address on nic, which is in the network namespace of this process, until ctx ends. The address stays.
func Run(ctx context.Context, nic string, logger *slog.Logger) error {
	wait := retryFirst
	for ctx.Err() == nil {
		lease, raw, err := ask(ctx, nic)
		if err == nil {
			err = set(nic, lease)
		}
		if err == nil {
			logger.Info("the router has an address outside", "address", lease.Addr, "gateway", lease.Gateway, "server", lease.Server, "for", lease.Life)
			wait = retryFirst
			err = hold(ctx, nic, lease, raw, logger)
		}
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the end was wanted, whatever it interrupted
		}
		_ = unset(nic) // else the kernel does it, at the end of the lease
		logger.Warn("the router has no address outside, trying again", "nic", nic, "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, retryMost)
	}
	return nil
}

// ask gets a lease, of the address that nic has if it has one.
func ask(ctx context.Context, nic string) (Lease, *nclient4.Lease, error) {
	var more []dhcpv4.Modifier
	if have, err := addrs(nic); err == nil && len(have) > 0 {
		more = append(more, dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(have[0].Addr().AsSlice())))
	}
	var raw *nclient4.Lease
	err := with(nic, func(c *nclient4.Client) (err error) {
		raw, err = c.Request(ctx, more...)
		return err
	})
	if err != nil {
		return Lease{}, nil, fmt.Errorf("ask for an address on %s: %w", nic, err)
	}
	lease, err := leaseOf(raw.ACK)
	return lease, raw, err
}

func with(nic string, do func(*nclient4.Client) error) error {
	c, err := nclient4.New(nic, nclient4.WithTimeout(askTimeout), nclient4.WithRetry(3))
	if err != nil {
		return err
	}
	return errors.Join(do(c), c.Close())
}

// hold renews the lease until that fails for good; the error says why.
func hold(ctx context.Context, nic string, lease Lease, raw *nclient4.Lease, logger *slog.Logger) error {
	until := time.Now().Add(lease.Life)
	next := lease.Renew
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(next):
		}
		var fresh *nclient4.Lease
		err := with(nic, func(c *nclient4.Client) (err error) {
			fresh, err = c.Renew(ctx, raw)
			return err
		})
		var nak *nclient4.ErrNak
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // the end was wanted, whatever it interrupted
		case errors.As(err, &nak):
			return fmt.Errorf("the server took %s back: %w", lease.Addr, err)
		case err != nil && time.Now().Add(time.Second).After(until):
			return fmt.Errorf("the lease of %s has ended and was not renewed: %w", lease.Addr, err)
		case err != nil:
			logger.Warn("the address outside was not renewed, trying again", "address", lease.Addr, "until", until, "err", err)
			next = min(max(time.Until(until)/2, time.Second), retryMost) // as RFC 2131 section 4.4.5
			continue
		}
		if lease, err = leaseOf(fresh.ACK); err == nil {
			err = set(nic, lease)
		}
		if err != nil {
			return err
		}
		raw, until, next = fresh, time.Now().Add(lease.Life), lease.Renew
		logger.Debug("the address outside was renewed", "address", lease.Addr, "until", until)
	}
}

// set gives nic the lease's address alone, until the lease ends, and the way out.
func set(nic string, l Lease) error {
	link, err := netlink.LinkByName(nic)
	if err != nil {
		return fmt.Errorf("find %s: %w", nic, err)
	}
	others, err := elsewhere(link)
	if err != nil {
		return err
	}
	if err := l.clash(others); err != nil {
		return err
	}
	seconds := int(l.Life / time.Second)
	addr := &netlink.Addr{IPNet: ipNet(l.Addr), ValidLft: seconds, PreferedLft: seconds}
	if err := netlink.AddrReplace(link, addr); err != nil {
		return fmt.Errorf("set address %s: %w", l.Addr, err)
	}
	if err := dropOthers(link, l.Addr); err != nil {
		return err
	}
	if !l.Gateway.IsValid() {
		return nil
	}
	for _, half := range []string{"0.0.0.0/1", "128.0.0.0/1"} {
		r := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(netip.MustParsePrefix(half)), Gw: l.Gateway.AsSlice(), Src: l.Addr.Addr().AsSlice(), Flags: int(netlink.FLAG_ONLINK)}
		if err := netlink.RouteReplace(r); err != nil {
			return fmt.Errorf("set the way out by %s: %w", l.Gateway, err)
		}
	}
	return nil
}

// unset takes all addresses off nic; the routes go with them.
func unset(nic string) error {
	link, err := netlink.LinkByName(nic)
	if err != nil {
		return fmt.Errorf("find %s: %w", nic, err)
	}
	return dropOthers(link, netip.Prefix{})
}

func dropOthers(link netlink.Link, keep netip.Prefix) error {
	list, err := netlink.AddrList(link, unix.AF_INET)
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range list {
		if p, ok := prefixOf(a.IPNet); ok && p == keep {
			continue
		}
		if err := netlink.AddrDel(link, &a); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return fmt.Errorf("remove address %s: %w", a.IPNet, err)
		}
	}
	return nil
}

// elsewhere lists the subnets of other interfaces.
func elsewhere(link netlink.Link) (out []netip.Prefix, err error) {
	list, err := netlink.AddrList(nil, unix.AF_INET)
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range list {
		if p, ok := prefixOf(a.IPNet); ok && a.LinkIndex != link.Attrs().Index {
			out = append(out, p.Masked())
		}
	}
	return out, nil
}

func addrs(nic string) (out []netip.Prefix, err error) {
	link, err := netlink.LinkByName(nic)
	if err != nil {
		return nil, err
	}
	list, err := netlink.AddrList(link, unix.AF_INET)
	for _, a := range list {
		if p, ok := prefixOf(a.IPNet); ok {
			out = append(out, p)
		}
	}
	return out, err
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	a, ok := netip.AddrFromSlice(n.IP.To4())
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(a, ones), ok
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}
}
