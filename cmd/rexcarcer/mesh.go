package main

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/hostagent"
	"github.com/rexcarcer/rexcarcer/internal/run"
	"github.com/rexcarcer/rexcarcer/netd/mesh"
)

// overlayOptions say how networks go on on other hosts.
type overlayOptions struct {
	Port    int           // UDP; 0: networks end at this host
	Device  string        // auto, kernel, userspace
	MTU     int           // bytes inside
	Rekey   time.Duration // a new key so often; 0: when it is asked for
	VLANNIC string        // interface that carries VLANs; "": that of the advertised address
}

// overlayPort is WireGuard's usual one.
const overlayPort = 51820

func overlayFlags(str func(name, value, usage string) cli.Flag, num func(name string, value int, usage string) cli.Flag) []cli.Flag {
	return []cli.Flag{
		num("overlay-port", overlayPort, "UDP port of the encrypted network between hosts; 0 turns it off (default with -dev)"),
		str("overlay-device", "auto", "WireGuard of the kernel, or of the daemon itself (userspace): auto takes the kernel's where there is one"),
		num("overlay-mtu", mesh.DefaultMTU, "largest packet of jails in networks that go from host to host; the same on all hosts"),
		str("overlay-rekey", "0", "this host makes itself a new key for the overlay so often, such as 720h; 0: when it is asked to"),
		str("vlan-nic", "", "`NIC` that carries the VLANs of networks (default: that of the advertised address)"),
	}
}

// overlayOptions reads them; text and number know file, variable and flag.
func (o *options) overlayOptions(c *cli.Context, file fileConfig, text func(string, *string) string, number func(string, *int) int) error {
	v := &o.Overlay
	v.Port, v.Device, v.MTU = number("overlay-port", file.OverlayPort), text("overlay-device", file.OverlayDevice), number("overlay-mtu", file.OverlayMTU)
	v.VLANNIC = text("vlan-nic", file.VLANNIC)
	if o.ClusterPort == 0 && !c.IsSet("overlay-port") && file.OverlayPort == nil {
		v.Port = 0
	}
	rekey := text("overlay-rekey", file.OverlayRekey)
	var err error
	if rekey != "0" {
		v.Rekey, err = time.ParseDuration(rekey)
	}
	switch {
	case err != nil || v.Rekey < 0 || v.Rekey > 0 && v.Rekey < time.Minute:
		return fmt.Errorf("overlay-rekey %q: want 0, or at least 1m, such as 720h", rekey)
	case v.Port < 0 || v.Port > 65535:
		return fmt.Errorf("overlay-port %d: want 1 to 65535, or 0 for none", v.Port)
	case v.Device != "auto" && v.Device != mesh.KindKernel && v.Device != mesh.KindUserspace:
		return fmt.Errorf("overlay-device %q: want auto, kernel or userspace", v.Device)
	case v.MTU < 1280 || v.MTU > 65455:
		return fmt.Errorf("overlay-mtu %d: want 1280 to 65455", v.MTU)
	}
	return nil
}

// openMesh makes the device's driver; nil where networks end at this host.
func openMesh(o options, instance, state string, reg prometheus.Registerer, log *slog.Logger) (*mesh.Mesh, error) {
	if o.Overlay.Port == 0 || o.Runtime == "sim" {
		return nil, nil
	}
	kind := o.Overlay.Device
	if kind == "auto" {
		kind = ""
	}
	return mesh.New(mesh.Options{Instance: instance, Kind: kind, RunDir: filepath.Join(state, "mesh"), Runner: run.Real{}, Metrics: reg, Log: log})
}

// overlayConfig is what the agent is told.
func (d *daemon) overlayConfig(m *mesh.Mesh) *hostagent.OverlayConfig {
	// Under jail(8) a router cannot tell members elsewhere from those here, and their answers would not come back by it.
	c := &hostagent.OverlayConfig{VLANNIC: d.o.Overlay.VLANNIC, LocalPorts: d.o.Runtime == "jail"}
	if c.VLANNIC == "" {
		c.VLANNIC = nicOf(d.o.Advertise)
	}
	if m != nil {
		c.Device, c.Port, c.MTU, c.RekeyEvery = m, uint16(d.o.Overlay.Port), d.o.Overlay.MTU, d.o.Overlay.Rekey //nolint:gosec // checked
		c.Endpoint = hostPort(d.o.Advertise, d.o.Overlay.Port)
	}
	return c
}

// nicOf is the interface that has an address, "" if none has.
func nicOf(address string) string {
	want, err := netip.ParseAddr(address)
	if err != nil {
		return ""
	}
	nics, err := net.Interfaces()
	if err != nil {
		return ""
	}
	for _, nic := range nics {
		addrs, err := nic.Addrs()
		if err != nil {
			continue // it has just gone
		}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok {
				if ip, ok := netip.AddrFromSlice(n.IP); ok && ip.Unmap() == want {
					return nic.Name
				}
			}
		}
	}
	return ""
}

// closeMesh ends the device, if it is one of this process.
func closeMesh(m *mesh.Mesh) error {
	if m == nil {
		return nil
	}
	return m.Close()
}
