package netd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// wire sends and hears whole frames on eth0 of a namespace, as a jail could that has raw sockets.
type wire struct {
	w  *world
	fd int
}

func (w *world) wire(ns, nic string) wire {
	w.tb.Helper()
	x := wire{w: w}
	w.in(ns, func() error {
		link, err := netlink.LinkByName(nic)
		if err != nil {
			return err
		}
		if x.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		all := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL)) // packet(7): in network byte order
		return unix.Bind(x.fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: link.Attrs().Index})
	})
	w.tb.Cleanup(func() { _ = unix.Close(x.fd) })
	return x
}

func (x wire) send(frame []byte) {
	x.w.tb.Helper()
	err := error(unix.EINTR)
	for errors.Is(err, unix.EINTR) {
		_, err = unix.Write(x.fd, frame)
	}
	if err != nil {
		x.w.tb.Fatal(err)
	}
}

// passes says whether what x sends arrives at to. mark makes frames that may pass, no two alike: one is sent after it, and must
// arrive. They are sent again and again until the first one arrives: a bridge forwards to a new port a moment later.
func (x wire) passes(to wire, frame []byte, mark func(n int) []byte) bool {
	x.w.tb.Helper()
	n := 0
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); n++ {
		x.send(mark(n))
		if _, ok := to.await(nil, mark(n), 200*time.Millisecond); ok {
			x.send(frame)
			x.send(mark(n + 1))
			heard, ok := to.await(frame, mark(n+1), 30*time.Second)
			if !ok {
				x.w.tb.Fatal("the frame that may pass does not arrive")
			}
			return heard
		}
	}
	x.w.tb.Fatal("no frame arrives")
	return false
}

// await reads until mark arrives, or not in time, and says whether frame came before.
func (x wire) await(frame, mark []byte, patience time.Duration) (heard, ok bool) {
	x.w.tb.Helper()
	b := make([]byte, 2048)
	_ = unix.SetsockoptTimeval(x.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000})
	for end := time.Now().Add(patience); time.Now().Before(end); {
		n, err := unix.Read(x.fd, b)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
			continue
		}
		if err != nil {
			x.w.tb.Fatal(err)
		}
		switch got := string(b[:n]); got {
		case string(frame):
			heard = true
		case string(mark):
			return heard, true
		}
	}
	return heard, false
}

// marks are ARP requests of who has mac and addr, for addresses that nobody has.
func marks(to, mac MAC, addr string) func(int) []byte {
	return func(n int) []byte {
		return ether(to, mac, unix.ETH_P_ARP, arp(1, mac, addr, fmt.Sprintf("10.99.%d.%d", n/250, 1+n%250)))
	}
}

func ether(to, from MAC, kind uint16, payload []byte) []byte {
	f := append(append([]byte{}, to[:]...), from[:]...)
	f = append(binary.BigEndian.AppendUint16(f, kind), payload...)
	for len(f) < 60 {
		f = append(f, 0)
	}
	return f
}

// arp is a reply (op 2) or request (1) by who claims to have addr.
func arp(op byte, mac MAC, addr, to string) []byte {
	p := append([]byte{0, 1, 8, 0, 6, 4, 0, op}, mac[:]...)
	p = append(p, netip.MustParseAddr(addr).AsSlice()...)
	return append(append(p, 0, 0, 0, 0, 0, 0), netip.MustParseAddr(to).AsSlice()...)
}

func udp4(from, to string, sport, dport uint16) []byte {
	p := []byte{0x45, 0, 0, 52, 0, 0, 0, 0, 64, unix.IPPROTO_UDP, 0, 0}
	p = append(append(p, netip.MustParseAddr(from).AsSlice()...), netip.MustParseAddr(to).AsSlice()...)
	sum := uint32(0)
	for i := 0; i < len(p); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(p[i:]))
	}
	binary.BigEndian.PutUint16(p[10:], ^uint16(sum>>16+sum&0xffff))
	p = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(p, sport), dport)
	return append(append(p, 0, 32, 0, 0), "a frame without any filler"[:24]...)
}

func ip6(next byte, from, to string, payload []byte) []byte {
	p := append([]byte{0x60, 0, 0, 0}, byte(len(payload)>>8), byte(len(payload)), next, 255)
	p = append(append(p, netip.MustParseAddr(from).AsSlice()...), netip.MustParseAddr(to).AsSlice()...)
	return append(p, payload...)
}

// icmp6 is a message about target; its checksum is not looked at by bridges.
func icmp6(kind byte, target string) []byte {
	return append([]byte{kind, 0, 0, 0, 0x60, 0, 0, 0}, netip.MustParseAddr(target).AsSlice()...)
}

const (
	ndAdvert     = 136
	ndRedirect   = 137
	routerAdvert = 134
)

func TestCase47NoFrameOfAJailSpeaksForAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.driver("t1")
	mustSet(t, d, netA6())
	j1 := mustAttach(t, d, jailWish6("11111111", "alpha", "10.66.0.3", "fd00:66::3"))
	j2 := mustAttach(t, d, jailWish6("22222222", "alpha", "10.66.0.4", "fd00:66::4"))
	from, to := w.wire(j1, "eth0"), w.wire(j2, "eth0")
	mine, yours, gateway := MACOf("11111111", 0), MACOf("22222222", 0), MACOf("aaaa0001", macGateway)
	lladdr := linkLocal(mine).String()
	hop := append([]byte{unix.IPPROTO_ICMPV6, 0, 5, 2, 0, 0, 1, 0}, icmp6(routerAdvert, "::")...) // behind an extension header
	mark := marks(yours, mine, "10.66.0.3")
	for _, c := range []struct {
		what   string
		frame  []byte
		passes bool
	}{
		{"its own address by ARP", ether(yours, mine, unix.ETH_P_ARP, arp(2, mine, "10.66.0.3", "10.66.0.4")), true},
		{"the gateway's address by ARP", ether(yours, mine, unix.ETH_P_ARP, arp(2, mine, "10.66.0.1", "10.66.0.4")), false},
		{"another jail's address by ARP", ether(yours, mine, unix.ETH_P_ARP, arp(2, mine, "10.66.0.5", "10.66.0.4")), false},
		{"the gateway's MAC inside of ARP", ether(yours, mine, unix.ETH_P_ARP, arp(2, gateway, "10.66.0.3", "10.66.0.4")), false},
		{"the gateway's MAC", ether(yours, gateway, unix.ETH_P_ARP, arp(2, gateway, "10.66.0.1", "10.66.0.4")), false},
		{"a packet", ether(yours, mine, unix.ETH_P_IP, udp4("10.66.0.3", "10.66.0.4", 1000, 68)), true},
		{"a packet of another jail", ether(yours, mine, unix.ETH_P_IP, udp4("10.66.0.5", "10.66.0.4", 1000, 68)), false},
		{"an answer of a DHCP server", ether(yours, mine, unix.ETH_P_IP, udp4("10.66.0.3", "10.66.0.4", 67, 68)), false},
		{"the same to all", ether(MAC{255, 255, 255, 255, 255, 255}, mine, unix.ETH_P_IP, udp4("10.66.0.3", "255.255.255.255", 67, 68)), false},
		{"the same from the gateway", ether(yours, mine, unix.ETH_P_IP, udp4("10.66.0.1", "10.66.0.4", 67, 68)), false},
		{"its own address as a neighbour", ether(yours, mine, unix.ETH_P_IPV6, ip6(unix.IPPROTO_ICMPV6, "fd00:66::3", "fd00:66::4", icmp6(ndAdvert, "fd00:66::3"))), true},
		{"its own link-local address", ether(yours, mine, unix.ETH_P_IPV6, ip6(unix.IPPROTO_ICMPV6, lladdr, "fd00:66::4", icmp6(ndAdvert, lladdr))), true},
		{"the gateway's address as a neighbour", ether(yours, mine, unix.ETH_P_IPV6, ip6(unix.IPPROTO_ICMPV6, "fd00:66::3", "fd00:66::4", icmp6(ndAdvert, "fd00:66::1"))), false},
		{"another jail's address as a neighbour", ether(yours, mine, unix.ETH_P_IPV6, ip6(unix.IPPROTO_ICMPV6, lladdr, "fd00:66::4", icmp6(ndAdvert, "fd00:66::5"))), false},
		{"a packet from another IPv6 address", ether(yours, mine, unix.ETH_P_IPV6, ip6(unix.IPPROTO_ICMPV6, "fd00:66::5", "fd00:66::4", icmp6(128, "::"))), false},
		{"a router advertisement", ether(yours, mine, unix.ETH_P_IPV6, ip6(unix.IPPROTO_ICMPV6, lladdr, "ff02::1", icmp6(routerAdvert, "::"))), false},
		{"the same behind an extension header", ether(yours, mine, unix.ETH_P_IPV6, ip6(0, lladdr, "ff02::1", hop)), false},
		{"a redirect", ether(yours, mine, unix.ETH_P_IPV6, ip6(unix.IPPROTO_ICMPV6, lladdr, "fd00:66::4", icmp6(ndRedirect, "fd00:66::1"))), false},
		{"an answer of a DHCPv6 server", ether(yours, mine, unix.ETH_P_IPV6, ip6(unix.IPPROTO_UDP, lladdr, "fd00:66::4", []byte{2, 35, 2, 34, 0, 8, 0, 0})), false},
		{"a frame with a VLAN tag", ether(yours, mine, unix.ETH_P_8021Q, append([]byte{0, 7, 8, 0}, udp4("10.66.0.3", "10.66.0.4", 67, 68)...)), false},
	} {
		if got := from.passes(to, c.frame, mark); got != c.passes {
			t.Errorf("%s: passes is %v, want %v", c.what, got, c.passes)
		}
	}
}

func TestAForeignPortOnTheBridgeIsNoRouterForJails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.driver("t1")
	mustSet(t, d, netA6())
	j := mustAttach(t, d, jailWish6("22222222", "alpha", "10.66.0.4", "fd00:66::4"))
	vm := w.namespace("vm")
	w.link(w.host, "tap0", "198.51.100.1/32", vm, "eth0", "198.51.100.2/32")
	w.in(w.host, func() error {
		tap, err := netlink.LinkByName("tap0")
		if err != nil {
			return err
		}
		return netlink.LinkSetMasterByIndex(tap, bridgeIndex(t, bridgeName("aaaa0001")))
	})
	w.waitUp(vm, "eth0")
	from, to := w.wire(vm, "eth0"), w.wire(j, "eth0")
	mac, yours := MAC{2, 0, 0, 0, 0, 9}, MACOf("22222222", 0)
	mark := marks(yours, mac, "10.66.0.9")
	for _, c := range []struct {
		what   string
		frame  []byte
		passes bool
	}{
		{"a packet", ether(yours, mac, unix.ETH_P_IP, udp4("10.66.0.9", "10.66.0.4", 1000, 1001)), true},
		{"an answer of a DHCP server", ether(yours, mac, unix.ETH_P_IP, udp4("10.66.0.9", "10.66.0.4", 67, 68)), false},
		{"the same to all", ether(MAC{255, 255, 255, 255, 255, 255}, mac, unix.ETH_P_IP, udp4("10.66.0.9", "255.255.255.255", 67, 68)), false},
		{"the gateway's address by ARP", ether(yours, mac, unix.ETH_P_ARP, arp(2, mac, "10.66.0.1", "10.66.0.4")), false},
		{"the host's address by ARP", ether(yours, mac, unix.ETH_P_ARP, arp(2, mac, "10.66.0.2", "10.66.0.4")), false},
		{"the gateway's address as a neighbour", ether(yours, mac, unix.ETH_P_IPV6, ip6(unix.IPPROTO_ICMPV6, "fd00:66::9", "fd00:66::4", icmp6(ndAdvert, "fd00:66::1"))), false},
		{"a router advertisement", ether(yours, mac, unix.ETH_P_IPV6, ip6(unix.IPPROTO_ICMPV6, "fe80::9", "ff02::1", icmp6(routerAdvert, "::"))), false},
	} {
		if got := from.passes(to, c.frame, mark); got != c.passes {
			t.Errorf("%s: passes is %v, want %v", c.what, got, c.passes)
		}
	}
	w.in(w.host, func() error {
		tap, err := netlink.LinkByName("tap0")
		if err != nil {
			return err
		}
		return netlink.LinkDel(tap)
	})
}

func bridgeIndex(t *testing.T, name string) int {
	t.Helper()
	x, err := net.InterfaceByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return x.Index
}
