package mesh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// kernel is a device of the kernel's own WireGuard. It outlives this process.
type kernel struct {
	name string
	os   linuxHost
}

func (k *kernel) kind() string { return KindKernel }

func (k *kernel) open(_ context.Context, mtu int) error {
	x, err := k.os.find(k.name)
	if err != nil {
		return err
	}
	return k.os.within(func() error {
		if x != nil && isWireGuard(x) {
			return nil // a daemon before this one made it
		}
		if x != nil {
			if err := netlink.LinkDel(x); err != nil && !errors.Is(err, unix.ENODEV) {
				return fmt.Errorf("remove interface %s: %w", k.name, err)
			}
		}
		err := netlink.LinkAdd(&netlink.Wireguard{LinkAttrs: netlink.LinkAttrs{Name: k.name, MTU: mtu, Alias: k.os.mark}})
		if errors.Is(err, unix.EOPNOTSUPP) {
			return fmt.Errorf("this kernel has no WireGuard (module wireguard): %w", err)
		}
		if err != nil {
			return fmt.Errorf("make interface: %w", err)
		}
		return nil
	})
}

func (k *kernel) alive() bool {
	x, err := k.os.find(k.name)
	return err != nil || x != nil
}

func (k *kernel) apply(ctx context.Context, c change, w Config) error {
	err := k.client(func(cl *wgctrl.Client) error {
		if err := cl.ConfigureDevice(k.name, c.wg(false)); err != nil {
			return err
		}
		return cl.ConfigureDevice(k.name, c.wg(true))
	})
	if err != nil {
		return fmt.Errorf("configure the device: %w", err)
	}
	if err := k.os.dress(ctx, k.name, w); err != nil {
		return fmt.Errorf("%w (another program may have UDP port %d: choose another -overlay-port)", err, w.Port)
	}
	return nil
}

// client runs fn with a netlink socket where the device is.
func (k *kernel) client(fn func(*wgctrl.Client) error) error {
	return k.os.within(func() error {
		cl, err := wgctrl.New()
		if err != nil {
			return fmt.Errorf("speak to WireGuard: %w", err)
		}
		return errors.Join(fn(cl), cl.Close())
	})
}

// wg is c as the library wants it; calm is as change.calm.
func (c change) wg(calm bool) wgtypes.Config {
	var out wgtypes.Config
	on, off := 25*time.Second, time.Duration(0)
	if calm {
		for _, p := range c.Peers {
			if p.Greet {
				out.Peers = append(out.Peers, wgtypes.PeerConfig{PublicKey: wgtypes.Key(p.Key), UpdateOnly: true, PersistentKeepaliveInterval: &off})
			}
		}
		return out
	}
	if c.Private != nil {
		key := wgtypes.Key(*c.Private)
		out.PrivateKey = &key
	}
	if c.Port != nil {
		port := int(*c.Port)
		out.ListenPort = &port
	}
	out.ReplacePeers = c.Replace
	for _, p := range c.Peers {
		pc := wgtypes.PeerConfig{PublicKey: wgtypes.Key(p.Key)}
		add := p.Add
		if len(p.Del) > 0 {
			pc.ReplaceAllowedIPs, add = true, p.Allowed
		}
		if p.Endpoint.IsValid() {
			pc.Endpoint = net.UDPAddrFromAddrPort(p.Endpoint)
		}
		for _, a := range add {
			pc.AllowedIPs = append(pc.AllowedIPs, net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())})
		}
		if p.Greet {
			pc.PersistentKeepaliveInterval = &on
		}
		out.Peers = append(out.Peers, pc)
	}
	for _, k := range c.Remove {
		out.Peers = append(out.Peers, wgtypes.PeerConfig{PublicKey: wgtypes.Key(k), Remove: true})
	}
	return out
}

func (k *kernel) peers(context.Context) (out []PeerView, err error) {
	var d *wgtypes.Device
	err = k.client(func(cl *wgctrl.Client) (err error) {
		d, err = cl.Device(k.name)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, p := range d.Peers {
		v := PeerView{Key: Key(p.PublicKey), Handshake: p.LastHandshakeTime, Received: p.ReceiveBytes, Sent: p.TransmitBytes}
		if p.Endpoint != nil {
			v.Endpoint = p.Endpoint.String()
		}
		for _, n := range p.AllowedIPs {
			a, _ := netip.AddrFromSlice(n.IP)
			v.Allowed = append(v.Allowed, a.Unmap())
		}
		slices.SortFunc(v.Allowed, netip.Addr.Compare)
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b PeerView) int { return slices.Compare(a.Key[:], b.Key[:]) })
	return out, nil
}

func (k *kernel) remove(ctx context.Context) error {
	return k.os.clear(ctx, k.name)
}

// leave has nothing to end: the device is the kernel's.
func (k *kernel) leave() error { return nil }
