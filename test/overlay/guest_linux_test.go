package overlay

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// guest plugs a machine that is no jail into the bridge of a host, with an address that DHCP would have given it. It
// returns the path of its namespace.
func (l *Lab) guest(t *testing.T, at int, id, addr string) string {
	t.Helper()
	l.jails[id] = &jail{at: at, addr: netip.MustParseAddr(addr)}
	if err := l.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	ns, err := l.namespace()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(ns, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	in(t, l.Hosts[at].NS, func() error {
		links, err := netlink.LinkList()
		if err != nil {
			return err
		}
		for _, b := range links {
			if b.Type() == "bridge" && strings.HasPrefix(b.Attrs().Name, "rb") {
				v := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "g" + id, MasterIndex: b.Attrs().Index}, PeerName: "eth0", PeerNamespace: netlink.NsFd(fd)}
				return errors.Join(netlink.LinkAdd(v), netlink.LinkSetUp(v))
			}
		}
		return fmt.Errorf("no bridge among %d links", len(links))
	})
	in(t, ns, func() error {
		x, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return errors.Join(netlink.AddrAdd(x, &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP(addr), Mask: net.CIDRMask(24, 32)}}), netlink.LinkSetUp(x))
	})
	return ns
}

// TestGuestAndJailOnTwoHostsReachEachOther: nothing but the way to its address has to be made for a guest.
func TestGuestAndJailOnTwoHostsReachEachOther(t *testing.T) {
	t.Parallel()
	l := newLab(t, 2)
	jail := l.place(t, 0, "aaaaaaaa", "10.66.0.9")
	guest := l.guest(t, 1, "bbbbbbbb", "10.66.0.200")
	defer echo(t, jail, "10.66.0.9")()
	defer echo(t, guest, "10.66.0.200")()
	for ns, addr := range map[string]string{jail: "10.66.0.200", guest: "10.66.0.9"} {
		s := newStream(t, ns, addr)
		s.await(t, 20)
		s.stop()
	}
}
