package netd

import (
	"context"
	"net/netip"
)

// Tracer is a Driver that can say which way packets of a jail take. Not every system's can.
type Tracer interface {
	// Trace reads from the kernel what leads from a jail through the routers of these networks to the outside. The
	// networks must have been Set; the jail must be attached.
	Trace(ctx context.Context, id string, networks []string) (Trace, error)
}

// Trace is the way from a jail to the outside as it was found.
type Trace struct {
	Routes  []Route       // of the jail
	Routers []RouterTrace // as the networks were named
	Host    HostTrace
}

// RouterTrace is one router as it was found.
type RouterTrace struct {
	Network string
	Routes  []Route
	Rules   string // its own table, as nft prints it
}

// HostTrace is the host's part of the way.
type HostTrace struct {
	Forwarding bool   // net.ipv4.ip_forward
	Out        Route  // to the outside; zero: there is no route
	Rules      string // our own tables, as nft prints them
}

// Route is one way of a routing table.
type Route struct {
	To  netip.Prefix // 0.0.0.0/0 is the default
	Via netip.Addr   // zero: it is on the link
	Dev string
	Src netip.Addr // that the host uses; zero: not said
}

// String is as ip(8) prints it.
func (r Route) String() string {
	text := r.To.String()
	switch {
	case !r.To.IsValid() || r.To.Bits() == 0:
		text = "default"
	case r.To.IsSingleIP():
		text = r.To.Addr().String()
	}
	if r.Via.IsValid() {
		text += " via " + r.Via.String()
	}
	if r.Dev != "" {
		text += " dev " + r.Dev
	}
	if r.Src.IsValid() {
		text += " src " + r.Src.String()
	}
	return text
}
