package netd

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"syscall"
)

// publish takes the published ports on the host, and returns those that could be had, by network. What other machines send
// goes through pf, where the host has it; the relays serve the host itself, and everybody where pf is off.
func (d *freebsd) publish(ctx context.Context, nets []Network) (map[string][]Publish, []error) {
	got := map[string][]Publish{}
	var errs []error
	wanted := map[string]bool{}
	for _, n := range nets {
		for _, p := range n.Publish {
			wanted[portKeyOf(p)] = true
		}
	}
	if err := d.relays.keep(wanted); err != nil {
		errs = append(errs, fmt.Errorf("give back published ports: %w", err))
	}
	owner := map[string]string{}
	for _, n := range nets {
		for _, p := range n.Publish {
			if err := cannotPublish(n, p, owner); err != nil {
				errs = append(errs, err)
				continue
			}
			if err := d.relays.ensure(p, d.refuses(nets)); err != nil {
				errs = append(errs, d.portError(ctx, n, p, err))
				continue
			}
			got[n.Name] = append(got[n.Name], p)
		}
	}
	return got, errs
}

// cannotPublish names what is not there on FreeBSD: a proxy, and a port of several networks. owner is who has a port.
func cannotPublish(n Network, p Publish, owner map[string]string) error {
	other, taken := owner[portKeyOf(p)]
	switch {
	case p.HTTP:
		return &NetworkError{Network: n.Name, Err: fmt.Errorf("network %s: publish %s: mode http is not there on FreeBSD: leave mode out", n.Name, portKeyOf(p))}
	case taken:
		return &NetworkError{Network: n.Name, Err: fmt.Errorf("network %s: port %s is published by network %s already, and FreeBSD shares no ports: choose another port",
			n.Name, portKeyOf(p), other)}
	}
	owner[portKeyOf(p)] = n.Name
	return nil
}

// refuses: jails use a service by its name. They reach a published port neither by the host's address on their bridge, nor
// through their router.
func (d *freebsd) refuses(nets []Network) func(client, local netip.Addr) bool {
	ranges := []netip.Prefix{d.o.LinkRange}
	for _, n := range nets {
		ranges = append(ranges, n.Subnet)
	}
	return func(client, local netip.Addr) bool {
		for _, p := range ranges {
			if p.Contains(local) || p.Contains(client) {
				return true
			}
		}
		return false
	}
}

func (d *freebsd) portError(ctx context.Context, n Network, p Publish, err error) error {
	if !errors.Is(err, syscall.EADDRINUSE) {
		return &NetworkError{Network: n.Name, Err: fmt.Errorf("network %s: reserve port %s: %w", n.Name, portKeyOf(p), err)}
	}
	// Who has it only makes the message better.
	out, _ := d.run(ctx, sockstatPath, "-4l", "-P", p.proto(), "-p", strconv.Itoa(int(p.HostPort)))
	return &PortTakenError{Network: n.Name, Port: p.HostPort, Proto: p.proto(), Process: parseHolder(out, p.HostPort)}
}
