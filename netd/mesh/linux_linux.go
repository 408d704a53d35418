package mesh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// backends are the ways to have a device here, the best first.
func backends(o Options, name string) []backend {
	s := linuxHost{o.HostNS, "rexcarcer:" + o.Instance + ":mesh:device"}
	return []backend{&kernel{name: name, os: s}, &embedded{name: name, os: s, log: o.Log}}
}

// linuxHost is the network namespace that plays the host.
type linuxHost struct {
	path string // "": that of this process
	mark string // alias of our interface, as netd's marks
}

func (h linuxHost) within(fn func() error) error {
	if h.path == "" {
		return fn()
	}
	runtime.LockOSThread()
	home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("open own network namespace: %w", err)
	}
	defer func() {
		// A thread that cannot go home stays locked and dies with its goroutine, rather than run others abroad.
		if unix.Setns(home, unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		_ = unix.Close(home)
	}()
	fd, err := unix.Open(h.path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open network namespace %s: %w", h.path, err)
	}
	defer unix.Close(fd)
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", h.path, err)
	}
	return fn()
}

// find returns our interface, nil if there is none.
func (h linuxHost) find(name string) (x netlink.Link, err error) {
	err = h.within(func() (err error) {
		x, err = netlink.LinkByName(name)
		return err
	})
	switch {
	case errors.As(err, &netlink.LinkNotFoundError{}):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("look for interface %s: %w", name, err)
	case x.Attrs().Alias == "" && (isWireGuard(x) || x.Type() == "tuntap"):
		return x, nil // a daemon that was killed before it could mark it
	case x.Attrs().Alias != h.mark:
		return nil, fmt.Errorf("interface %s exists and is not ours (alias %q): remove it", name, x.Attrs().Alias)
	}
	return x, nil
}

func (h linuxHost) clear(_ context.Context, name string) error {
	x, err := h.find(name)
	if err != nil || x == nil {
		return err
	}
	err = h.within(func() error { return netlink.LinkDel(x) })
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove interface %s: %w", name, err)
	}
	return nil
}

func (h linuxHost) dress(_ context.Context, name string, w Config) error {
	x, err := h.find(name)
	if err != nil {
		return err
	}
	if x == nil {
		return fmt.Errorf("interface %s is gone", name)
	}
	return h.within(func() error {
		if err := netlink.LinkSetAlias(x, h.mark); err != nil {
			return fmt.Errorf("mark %s: %w", name, err)
		}
		if x.Attrs().MTU != w.MTU {
			if err := netlink.LinkSetMTU(x, w.MTU); err != nil {
				return fmt.Errorf("set MTU %d of %s: %w", w.MTU, name, err)
			}
		}
		if err := setAddrs(x, w.Addrs); err != nil {
			return err
		}
		if err := netlink.LinkSetUp(x); err != nil {
			return fmt.Errorf("bring %s up: %w", name, err)
		}
		return nil
	})
}

// setAddrs makes the addresses of x exactly want, link-local ones aside.
func setAddrs(x netlink.Link, want []netip.Prefix) error {
	name := x.Attrs().Name
	have, err := netlink.AddrList(x, netlink.FAMILY_ALL)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return fmt.Errorf("list addresses of %s: %w", name, err)
	}
	there := map[netip.Prefix]bool{}
	for _, a := range have {
		ip, _ := netip.AddrFromSlice(a.IP)
		bits, _ := a.Mask.Size()
		p := netip.PrefixFrom(ip.Unmap(), bits)
		if there[p] = slices.Contains(want, p); !there[p] && !ip.IsLinkLocalUnicast() {
			if err := netlink.AddrDel(x, &a); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
				return fmt.Errorf("remove address %v from %s: %w", p, name, err)
			}
		}
	}
	for _, p := range want {
		if there[p] {
			continue
		}
		a := p.Addr()
		addr := &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(p.Bits(), a.BitLen())}}
		if a.Is6() {
			addr.Flags = unix.IFA_F_NODAD
		}
		err := netlink.AddrAdd(x, addr)
		// A kernel without IPv6 carries none of it, as netd's bridges there.
		if err != nil && !errors.Is(err, unix.EEXIST) && !(a.Is6() && (errors.Is(err, unix.EACCES) || errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP))) {
			return fmt.Errorf("give %s the address %v: %w", name, p, err)
		}
	}
	return nil
}

// isWireGuard tells the kernel's device from a tun that a dead process has left.
func isWireGuard(x netlink.Link) bool { return strings.EqualFold(x.Type(), "wireguard") }
