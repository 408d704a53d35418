package netd

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// announce tells the neighbours on a bridge that these addresses are behind the host now.
func (d *linux) announce(n network, now []Remote) error {
	var addrs []netip.Addr
	for _, r := range now {
		addrs = append(addrs, r.Addr)
	}
	return d.shout(n, MACOf(n.ID, macBridge), addrs)
}

// arrived tells everybody where the addresses of a jail are, if it may have come from another host. The host itself has
// perhaps asked for them in vain already, for packets of others, and would ask again only after a second.
func (d *linux) arrived(c NSConfig) error {
	for _, p := range c.Ports {
		n := d.nets[p.Network]
		if n.mesh == nil {
			continue
		}
		addrs, mac := valid(p.Addr, p.Addr6), p.mac(c.ID)
		var reqs []*nl.NetlinkRequest
		for _, a := range addrs {
			reqs = append(reqs, neighbour(n.bridge, a, mac))
		}
		err := d.rt.with(func(s *conn) error { return s.must(reqs...) })
		if err = errors.Join(err, d.shout(n, mac, addrs)); err != nil {
			return fmt.Errorf("announce it in network %s: %w", p.Network, err)
		}
	}
	return nil
}

// shout sends to all ports of a bridge that addrs are at mac.
func (d *linux) shout(n network, mac MAC, addrs []netip.Addr) error {
	if len(addrs) == 0 {
		return nil
	}
	d.voice.mu.Lock()
	defer d.voice.mu.Unlock()
	if !d.voice.open {
		err := d.onHost(func() (err error) {
			d.voice.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
			return err
		})
		if err != nil {
			return fmt.Errorf("open packet socket: %w", err)
		}
		d.voice.open = true
	}
	for _, a := range addrs {
		err := unix.Sendto(d.voice.fd, gratuitous(a, mac), 0, &unix.SockaddrLinklayer{Ifindex: n.bridge, Halen: 6, Addr: [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}})
		// A bridge without a port that is up sends nothing, and then nobody has to hear it.
		if err != nil && !errors.Is(err, unix.ENETDOWN) && !errors.Is(err, unix.ENOBUFS) {
			return fmt.Errorf("announce %v: %w", a, err)
		}
	}
	return nil
}

// voice is the packet socket for announcements. It stays open: to close one waits for all readers of packets in the
// kernel, which is as long as a jail needs for all of its network ten times over. It receives nothing.
type voice struct {
	mu   sync.Mutex
	fd   int  // guarded by mu
	open bool // guarded by mu
}

func (v *voice) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.open {
		_ = unix.Close(v.fd)
		v.open = false
	}
}
