package dhcpd

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
)

// maxPacket is the longest packet that is read, in bytes: more than Ethernet
// brings in one frame is nobody's request for an address.
const maxPacket = 1500

// Request is what a client sent, as far as it matters.
type Request struct {
	Type   dhcpv4.MessageType
	MAC    string // lower case, with colons
	Client string // who it is: its MAC, or "id:" and what it calls itself in hex

	Ciaddr    netip.Addr // the address that it has and uses; zero: none
	Giaddr    netip.Addr // the relay by which it came; zero: none
	Requested netip.Addr // option 50
	Server    netip.Addr // option 54
	Seconds   uint32     // option 51; 0: none
	Wants     []byte     // option 55
	Hostname  string     // the name that it wants, one label; "": none
	FQDN      []byte     // option 81 as it came
	Broadcast bool
	MaxSize   int // of a reply, in bytes; 0: none said

	packet *dhcpv4.DHCPv4
}

// errNotForUs is a packet that is no request: a server's, or BOOTP.
var errNotForUs = errors.New("not a request of DHCP")

// Parse reads one packet. It is total: any bytes give a Request or an error.
func Parse(raw []byte) (*Request, error) {
	if len(raw) > maxPacket {
		return nil, fmt.Errorf("%d bytes, %d are the most", len(raw), maxPacket)
	}
	p, err := dhcpv4.FromBytes(raw)
	if err != nil {
		return nil, fmt.Errorf("parse packet: %w", err)
	}
	if p.OpCode != dhcpv4.OpcodeBootRequest {
		return nil, errNotForUs
	}
	typ := p.Options.Get(dhcpv4.OptionDHCPMessageType)
	if len(typ) != 1 {
		return nil, errNotForUs
	}
	mac := p.ClientHWAddr
	if p.HWType != iana.HWTypeEthernet || len(mac) != 6 || mac[0]&1 != 0 || string(mac) == "\x00\x00\x00\x00\x00\x00" {
		return nil, fmt.Errorf("hardware address %v of type %d is no machine's on Ethernet", mac, p.HWType)
	}
	r := &Request{
		Type: dhcpv4.MessageType(typ[0]), MAC: mac.String(), packet: p,
		Ciaddr: addrOf(p.ClientIPAddr), Giaddr: addrOf(p.GatewayIPAddr),
		Requested: addrOf(p.Options.Get(dhcpv4.OptionRequestedIPAddress)),
		Server:    addrOf(p.Options.Get(dhcpv4.OptionServerIdentifier)),
		Wants:     p.Options.Get(dhcpv4.OptionParameterRequestList),
		FQDN:      p.Options.Get(dhcpv4.OptionFQDN),
		Broadcast: p.IsBroadcast(),
		Seconds:   uint32(min(p.IPAddressLeaseTime(0)/time.Second, 1<<32-1)),
	}
	if size, err := p.MaxMessageSize(); err == nil {
		r.MaxSize = int(size)
	}
	r.Client = clientOf(r.MAC, p.Options.Get(dhcpv4.OptionClientIdentifier))
	r.Hostname = wantedName(r.FQDN, p.Options.Get(dhcpv4.OptionHostName))
	return r, nil
}

// clientOf is who a client is (RFC 2131 section 4.2). An id that is only the
// MAC address in other words is taken for it, so that a machine is the same
// one to its boot ROM and to its system.
func clientOf(mac string, id []byte) string {
	switch {
	case len(id) < 2:
		return mac
	case len(id) == 7 && id[0] == byte(iana.HWTypeEthernet):
		return macText(id[1:])
	case len(id) > 40:
		sum := sha256.Sum256(id)
		id = sum[:20]
	}
	return "id:" + hex.EncodeToString(id)
}

func macText(b []byte) string {
	const digits = "0123456789abcdef"
	var s [17]byte
	for i := range 6 {
		s[3*i], s[3*i+1] = digits[b[i]>>4], digits[b[i]&15]
		if i < 5 {
			s[3*i+2] = ':'
		}
	}
	return string(s[:])
}

// addrOf is an IPv4 address of the wire; the zero Addr for 0.0.0.0 and for
// what is none.
func addrOf(b []byte) netip.Addr {
	a, ok := netip.AddrFromSlice(b)
	if a = a.Unmap(); !ok || !a.Is4() || a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}

// wants reports whether the client asked for an option; one that asked for
// none is told everything.
func (r *Request) wants(code dhcpv4.OptionCode) bool {
	return len(r.Wants) == 0 || bytes.IndexByte(r.Wants, code.Code()) >= 0
}
