package fsm

import "net/netip"

// Overlay is a host's end of the encrypted network between hosts. The host
// makes its keys itself; private ones never enter the log.
type Overlay struct {
	N        uint32 `json:"n"`              // 1..MaxOverlay: its place in the range of the hosts' own addresses, for as long as it is a member
	Key      string `json:"key"`            // WireGuard's public key, base64
	Next     string `json:"next,omitempty"` // the key after this one: others accept it already
	Endpoint string `json:"endpoint"`       // HOST:PORT, UDP
	Device   string `json:"device"`         // kernel or userspace, or why there is none
	KeyAt    Time   `json:"key_at"`         // since when Key is the key
	Rekey    bool   `json:"rekey,omitempty"`
}

// The addresses that hosts have on the overlay, by their number. They are of
// the range for tests of networks (RFC 2544), which is routed nowhere; netd has
// its own part of it on FreeBSD.
var (
	OverlayRange  = netip.MustParsePrefix("198.19.0.0/17")
	OverlayRange6 = netip.MustParsePrefix("fd52:6578:4361:7264::/112")
)

// Addr is the host's own IPv4 address on the overlay.
func (o *Overlay) Addr() netip.Addr {
	a := OverlayRange.Addr().As4()
	a[2], a[3] = byte(o.N>>8), byte(o.N)
	return netip.AddrFrom4(a)
}

// Addr6 is the host's own IPv6 address on the overlay.
func (o *Overlay) Addr6() netip.Addr {
	a := OverlayRange6.Addr().As16()
	a[14], a[15] = byte(o.N>>8), byte(o.N)
	return netip.AddrFrom16(a)
}

// MaxOverlay is how many hosts can have an address of their own on the overlay.
const MaxOverlay = 1<<15 - 2

// ReportOverlay publishes a host's own end: where it listens and with which
// keys. Key must be the one before, or what was Next: others would not know
// any other, unless the host has lost its keys.
type ReportOverlay struct {
	Host     HostID `json:"host"`
	Key      string `json:"key"`
	Next     string `json:"next,omitempty"`
	Endpoint string `json:"endpoint"`
	Device   string `json:"device,omitempty"`
}

// RekeyHost asks a host to make itself a new key for the overlay.
type RekeyHost struct {
	Host HostID `json:"host"`
}

// Kind implements Command for each of them.
func (ReportOverlay) Kind() string { return "report_overlay" }
func (RekeyHost) Kind() string     { return "rekey_host" }

type (
	// HostOverlaid: its end of the overlay is another.
	HostOverlaid struct {
		Host *Host `json:"host"`
	}
	// HostRekeyed: it uses a new key on the overlay.
	HostRekeyed struct {
		Host *Host `json:"host"`
	}
	// RekeyAsked: it shall make itself a new key.
	RekeyAsked struct {
		Host *Host `json:"host"`
	}
)

// Kind implements Event for each of them: its name for ever.
func (HostOverlaid) Kind() string { return "host_overlaid" }
func (HostRekeyed) Kind() string  { return "host_rekeyed" }
func (RekeyAsked) Kind() string   { return "rekey_asked" }

// Object implements Event: noun, blank, name.
func (e HostOverlaid) Object() string { return "host " + e.Host.Name }
func (e HostRekeyed) Object() string  { return "host " + e.Host.Name }
func (e RekeyAsked) Object() string   { return "host " + e.Host.Name }

// Why implements Event: the reason for people.
func (e HostOverlaid) Why() string {
	o := e.Host.Overlay
	if o.Next != "" {
		return "key " + o.Next + " is to follow " + o.Key
	}
	return "key " + o.Key + " at " + o.Endpoint
}
func (e HostRekeyed) Why() string { return "key " + e.Host.Overlay.Key }
func (RekeyAsked) Why() string    { return "" }

func (e HostOverlaid) evolve(t *txn) { t.hosts.put(string(e.Host.ID), e.Host) }
func (e HostRekeyed) evolve(t *txn)  { t.hosts.put(string(e.Host.ID), e.Host) }
func (e RekeyAsked) evolve(t *txn)   { t.hosts.put(string(e.Host.ID), e.Host) }

// Meshed says whether the network goes from host to host by the overlay.
func (n *Network) Meshed() bool { return n.Overlay == "" && n.VLAN == 0 }

// AddrsOn lists the addresses, of networks that use the overlay, of the jails
// that have a Run on a host which is not over, sorted by jail and NIC.
func (s *State) AddrsOn(h HostID) []Addr {
	var out []Addr
	for _, r := range s.ByHost.Prefix(string(h) + "/") {
		j, ok := s.Jails.Get(string(r.Jail))
		if !ok {
			continue
		}
		for _, list := range [][]Addr{j.Addrs, j.OldAddrs} {
			for _, a := range list {
				if n, ok := s.Networks.Get(a.Network); ok && n.Meshed() {
					out = append(out, a)
				}
			}
		}
	}
	return out
}

// Both are the addresses of a that are set.
func (a Addr) Both() []netip.Addr {
	var out []netip.Addr
	for _, x := range []netip.Addr{a.Addr, a.Addr6} {
		if x.IsValid() {
			out = append(out, x)
		}
	}
	return out
}
