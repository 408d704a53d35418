package overlay

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"crypto/rand"

	"github.com/vishvananda/netlink"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"

	"github.com/rexcarcer/rexcarcer/netd/mesh"
)

// Plain is two namespaces with a cable between them and WireGuard by hand, by the library's own words: what a Lab is
// measured by.
type Plain struct {
	NS    [2]string
	Addrs [2]netip.Addr // inside the tunnel
	lab   Lab
	devs  []*device.Device
}

// NewPlain makes one. Close it whatever NewPlain returns.
func NewPlain() (*Plain, error) {
	p := &Plain{}
	var keys [2]mesh.Key
	for i := range p.NS {
		var err error
		if p.NS[i], err = p.lab.namespace(); err != nil {
			return p, err
		}
		if keys[i], err = mesh.NewKey(rand.Reader); err != nil {
			return p, err
		}
		p.Addrs[i] = netip.AddrFrom4([4]byte{10, 99, 0, byte(i + 1)})
	}
	if err := p.cable(); err != nil {
		return p, fmt.Errorf("connect them: %w", err)
	}
	for i := range p.NS {
		if err := p.tunnel(i, keys[i], keys[1-i].Public()); err != nil {
			return p, fmt.Errorf("make a tunnel: %w", err)
		}
	}
	return p, nil
}

func (p *Plain) cable() error {
	wire, err := p.lab.namespace()
	if err != nil {
		return err
	}
	err = In(wire, func() error {
		b := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "wire"}}
		return errors.Join(netlink.LinkAdd(b), netlink.LinkSetUp(b))
	})
	for i := range p.NS {
		err = errors.Join(err, plug(wire, p.NS[i], netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}), i))
	}
	return err
}

func (p *Plain) tunnel(i int, private, peer mesh.Key) error {
	return In(p.NS[i], func() error {
		t, err := tun.CreateTUN("wg0", mesh.DefaultMTU)
		if err != nil {
			return err
		}
		d := device.NewDevice(t, conn.NewDefaultBind(), &device.Logger{Verbosef: device.DiscardLogf, Errorf: device.DiscardLogf})
		p.devs = append(p.devs, d)
		err = d.IpcSet(fmt.Sprintf("private_key=%s\nlisten_port=%d\npublic_key=%s\nendpoint=192.0.2.%d:%d\nallowed_ip=%s/32\n",
			hex.EncodeToString(private[:]), Port, hex.EncodeToString(peer[:]), 2-i, Port, p.Addrs[1-i]))
		if err != nil {
			return err
		}
		if err := d.Up(); err != nil { // before the interface: sockets are opened on this thread
			return err
		}
		x, err := netlink.LinkByName("wg0")
		if err != nil {
			return err
		}
		return errors.Join(netlink.AddrAdd(x, &netlink.Addr{IPNet: &net.IPNet{IP: p.Addrs[i].AsSlice(), Mask: net.CIDRMask(24, 32)}}), netlink.LinkSetUp(x))
	})
}

// Close takes it away.
func (p *Plain) Close() error {
	for _, d := range p.devs {
		d.Close()
	}
	return p.lab.Close()
}
