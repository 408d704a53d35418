package dhcpd

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/rfc1035label"
)

// The ports of DHCP.
const (
	serverPort = 67
	clientPort = 68
)

// leastMax is the size of message that every client takes (RFC 2131 section 2).
const leastMax = 576

var everybody = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// reply builds an OFFER or an ACK; no address means the ACK of an INFORM.
func (v *View) reply(r *Request, typ dhcpv4.MessageType, a netip.Addr, seconds uint32, name string) Answer {
	p := v.skeleton(r, typ)
	if a.IsValid() {
		p.YourIPAddr = a.AsSlice()
		p.Options[dhcpv4.OptionIPAddressLeaseTime.Code()] = be32(seconds)
		p.Options[dhcpv4.OptionRenewTimeValue.Code()] = be32(seconds / 2)
		p.Options[dhcpv4.OptionRebindingTimeValue.Code()] = be32(seconds - seconds/8)
	}
	v.tell(r, p, name)
	return Answer{Reply: fit(r, p), To: v.destination(r, typ), Type: typ, Why: typ.String()}
}

// nak refuses (RFC 2131 table 3): the client begins again.
func (v *View) nak(r *Request, text string) Answer {
	p := v.skeleton(r, dhcpv4.MessageTypeNak)
	p.ClientIPAddr = net.IPv4zero
	p.Options[dhcpv4.OptionMessage.Code()] = []byte(text)
	if r.Giaddr.IsValid() { // the relay must broadcast it: the client may have no address that works
		p.SetBroadcast()
	}
	return Answer{Reply: p.ToBytes(), To: v.destination(r, dhcpv4.MessageTypeNak), Type: dhcpv4.MessageTypeNak, Why: dhcpv4.MessageTypeNak.String()}
}

func (v *View) skeleton(r *Request, typ dhcpv4.MessageType) *dhcpv4.DHCPv4 {
	q := r.packet
	p := &dhcpv4.DHCPv4{
		OpCode: dhcpv4.OpcodeBootReply, HWType: q.HWType, TransactionID: q.TransactionID, Flags: q.Flags,
		ClientIPAddr: q.ClientIPAddr, GatewayIPAddr: q.GatewayIPAddr, ClientHWAddr: q.ClientHWAddr,
		Options: dhcpv4.Options{
			dhcpv4.OptionDHCPMessageType.Code():  {byte(typ)},
			dhcpv4.OptionServerIdentifier.Code(): v.server().AsSlice(),
		},
	}
	if typ == dhcpv4.MessageTypeOffer {
		p.ClientIPAddr = net.IPv4zero
	}
	if relay := q.Options.Get(dhcpv4.OptionRelayAgentInformation); len(relay) > 0 && r.Giaddr.IsValid() {
		p.Options[dhcpv4.OptionRelayAgentInformation.Code()] = relay // RFC 3046 section 2.2
	}
	if id := q.Options.Get(dhcpv4.OptionClientIdentifier); len(id) > 0 {
		p.Options[dhcpv4.OptionClientIdentifier.Code()] = id // RFC 6842
	}
	return p
}

// tell adds what a client wants to know of the network.
func (v *View) tell(r *Request, p *dhcpv4.DHCPv4, name string) {
	n, domain := v.Network, v.State.Cluster.Domain
	own := n.Name + "." + domain
	put := func(code dhcpv4.OptionCode, value []byte) {
		if len(value) > 0 && r.wants(code) {
			p.Options[code.Code()] = value
		}
	}
	p.Options[dhcpv4.OptionSubnetMask.Code()] = net.CIDRMask(n.Subnet.Bits(), 32)
	put(dhcpv4.OptionRouter, v.server().AsSlice())
	put(dhcpv4.OptionBroadcastAddress, lastOf(n.Subnet).AsSlice())
	put(dhcpv4.OptionDomainName, []byte(own))
	dns, search, mtu := []netip.Addr{v.server()}, []string{own, domain}, v.MTU
	if d := n.DHCP; d != nil {
		if len(d.DNS) > 0 {
			dns = d.DNS
		}
		if len(d.Search) > 0 {
			search = d.Search
		}
		if d.MTU != 0 {
			mtu = d.MTU
		}
		put(dhcpv4.OptionNTPServers, addrs(d.NTP))
		if len(d.Routes) > 0 {
			put(dhcpv4.OptionClasslessStaticRoute, v.routes())
		}
		if d.NextServer.IsValid() {
			p.ServerIPAddr = d.NextServer.AsSlice()
			put(dhcpv4.OptionTFTPServerName, []byte(d.NextServer.String()))
		}
		if d.Bootfile != "" {
			p.BootFileName = d.Bootfile
			put(dhcpv4.OptionBootfileName, []byte(d.Bootfile))
		}
	}
	put(dhcpv4.OptionDomainNameServer, addrs(dns))
	put(dhcpv4.OptionDNSDomainSearchList, (&rfc1035label.Labels{Labels: search}).ToBytes())
	if mtu != 0 && len(r.Wants) > 0 {
		put(dhcpv4.OptionInterfaceMTU, binary.BigEndian.AppendUint16(nil, uint16(mtu)))
	}
	if name != "" {
		put(dhcpv4.OptionHostName, []byte(name))
		name += "." + own
	}
	if fqdn := fqdnReply(r.FQDN, name); fqdn != nil {
		p.Options[dhcpv4.OptionFQDN.Code()] = fqdn
	}
}

// routes is option 121. Whoever takes it ignores the router option, so that
// the default route is in it too (RFC 3442).
func (v *View) routes() []byte {
	all := dhcpv4.Routes{{Dest: &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}, Router: v.server().AsSlice()}}
	for _, r := range v.Network.DHCP.Routes {
		all = append(all, &dhcpv4.Route{Dest: &net.IPNet{IP: r.To.Addr().AsSlice(), Mask: net.CIDRMask(r.To.Bits(), 32)}, Router: r.Via.AsSlice()})
	}
	return all.ToBytes()
}

// fit leaves out what a client can do without until the packet is no longer
// than the client takes.
func fit(r *Request, p *dhcpv4.DHCPv4) []byte {
	most := max(r.MaxSize, leastMax) - 28 // IP and UDP headers
	b := p.ToBytes()
	for _, code := range []dhcpv4.OptionCode{
		dhcpv4.OptionBootfileName, dhcpv4.OptionTFTPServerName, dhcpv4.OptionDNSDomainSearchList, dhcpv4.OptionNTPServers,
		dhcpv4.OptionFQDN, dhcpv4.OptionHostName, dhcpv4.OptionClasslessStaticRoute, dhcpv4.OptionDomainName,
		dhcpv4.OptionClientIdentifier,
	} {
		if len(b) <= most {
			break
		}
		delete(p.Options, code.Code())
		b = p.ToBytes()
	}
	return b
}

// destination is where a reply goes (RFC 2131 section 4.1). A client without an
// address is reached by broadcast: unicast to it would need a raw socket.
func (v *View) destination(r *Request, typ dhcpv4.MessageType) netip.AddrPort {
	switch {
	case r.Giaddr.IsValid():
		return netip.AddrPortFrom(r.Giaddr, serverPort)
	case typ != dhcpv4.MessageTypeNak && typ != dhcpv4.MessageTypeOffer && r.Ciaddr.IsValid() && v.Network.Subnet.Contains(r.Ciaddr):
		return netip.AddrPortFrom(r.Ciaddr, clientPort)
	}
	return netip.AddrPortFrom(broadcastTo(v.Network), clientPort)
}

func addrs(list []netip.Addr) []byte {
	var b []byte
	for _, a := range list {
		b = append(b, a.AsSlice()...)
	}
	return b
}

func be32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

// lastOf is the broadcast address of an IPv4 prefix.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	n := binary.BigEndian.Uint32(b[:]) | uint32(1<<(32-p.Bits())-1)
	binary.BigEndian.PutUint32(b[:], n)
	return netip.AddrFrom4(b)
}
