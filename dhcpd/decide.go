package dhcpd

import (
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

// Answer is what becomes of a packet.
type Answer struct {
	Reply []byte         // nil: nothing is sent now
	To    netip.AddrPort // where Reply goes; the broadcast address where the client has none
	Type  dhcpv4.MessageType
	Why   string // for counters and people: one of a few words

	Offered netip.Addr    // to remember
	Lease   *fsm.GuestAsk // to commit: then Confirm says what is sent
	End     *fsm.GuestEnd // to commit
}

// What an Answer says of itself, beside what it sends.
const (
	whyNothing     = "nothing to say"
	whyOtherServer = "another server's"
	whyRelay       = "unknown relay"
	whySource      = "foreign address"
	whyFull        = "no address free"
	whyOff         = "switched off"
	whyJail        = "a jail"
	whyUnknown     = "unknown lease"
	whyCommit      = "to be committed"
)

func ignore(why string) Answer { return Answer{Why: why} }

// Decide answers r, or says what has to be committed first.
func Decide(v *View, r *Request) Answer {
	n := v.Network
	switch {
	case n.Gone || n.DHCP != nil && n.DHCP.Off:
		return ignore(whyOff)
	case r.Giaddr.IsValid() && !n.Subnet.Contains(r.Giaddr): // we know no link that such a relay could be on
		return ignore(whyRelay)
	case r.Server.IsValid() && r.Server != v.server() && r.Type != dhcpv4.MessageTypeInform:
		return ignore(whyOtherServer)
	}
	if l := v.Known.jails[r.MAC]; l != nil {
		return v.answerJail(r, l)
	}
	switch r.Type {
	case dhcpv4.MessageTypeDiscover:
		return v.discover(r)
	case dhcpv4.MessageTypeRequest:
		return v.request(r)
	case dhcpv4.MessageTypeDecline:
		return v.end(r, r.Requested, fsm.GuestDeclined)
	case dhcpv4.MessageTypeRelease:
		return v.end(r, r.Ciaddr, fsm.GuestReleased)
	case dhcpv4.MessageTypeInform:
		return v.inform(r)
	}
	return ignore(whyNothing)
}

func (v *View) discover(r *Request) Answer {
	a, ok := v.choose(r)
	if !ok {
		return ignore(whyFull)
	}
	ans := v.reply(r, dhcpv4.MessageTypeOffer, a, v.leaseSeconds(r), v.nameFor(r))
	ans.Offered = a
	return ans
}

// request tells the four states apart in which a client asks for an address
// (RFC 2131 section 4.3.2).
func (v *View) request(r *Request) Answer {
	want := r.Requested
	switch {
	case r.Ciaddr.IsValid() && !r.Server.IsValid(): // RENEWING, REBINDING
		want = r.Ciaddr
	case !want.IsValid():
		return ignore(whyNothing)
	}
	if !v.offersAt(r, want) {
		return v.nak(r, "not an address for you here")
	}
	if ok, _ := v.free(r.Client, want); !ok {
		return v.nak(r, "somebody else has it")
	}
	ask := &fsm.GuestAsk{Addr: want, Client: r.Client, MAC: r.MAC, Hostname: v.nameFor(r), Seconds: v.leaseSeconds(r)}
	if g := v.State.GuestAt(v.Network.Name, want); g != nil && v.settled(g, ask) {
		return v.reply(r, dhcpv4.MessageTypeAck, want, v.rest(g), g.Hostname)
	}
	return Answer{Lease: ask, Why: whyCommit}
}

// settled reports whether the lease that is in the log says what ask wants,
// and was granted so shortly ago that prolonging it is not worth an entry: a
// client that asks again and again does not fill the log.
func (v *View) settled(g *fsm.Guest, ask *fsm.GuestAsk) bool {
	if !g.Live() || g.Client != ask.Client || g.MAC != ask.MAC || g.Host != v.Host || g.Hostname != ask.Hostname {
		return false
	}
	whole := time.Duration(ask.Seconds) * time.Second
	left := g.Expires.Sub(v.Now)
	return left <= whole && left > whole-whole/16
}

// rest is how long g may still be used, in seconds.
func (v *View) rest(g *fsm.Guest) uint32 {
	return uint32(max(g.Expires.Sub(v.Now)/time.Second, 1))
}

// Confirm answers r after ask was committed, from the State that came of it.
func Confirm(v *View, r *Request, ask *fsm.GuestAsk) Answer {
	g := v.State.GuestAt(v.Network.Name, ask.Addr)
	if g == nil || !g.Live() || g.Client != ask.Client || g.Expires <= v.Now {
		return v.nak(r, "somebody else was faster")
	}
	return v.reply(r, dhcpv4.MessageTypeAck, g.Addr, min(ask.Seconds, v.rest(g)), g.Hostname)
}

// end commits that a client gives an address back, or found it in use. Only
// of its own lease: others' are nobody's to end.
func (v *View) end(r *Request, a netip.Addr, how string) Answer {
	g := v.State.GuestAt(v.Network.Name, a)
	if !a.IsValid() || g == nil || !g.Live() || g.Client != r.Client {
		return ignore(whyUnknown)
	}
	return Answer{End: &fsm.GuestEnd{Addr: a, Client: r.Client, How: how}, Why: whyCommit}
}

// inform tells a machine that has an address by other means the rest
// (RFC 2131 section 4.3.5). The reply goes to that address: no other's.
func (v *View) inform(r *Request) Answer {
	if !r.Ciaddr.IsValid() || !v.Network.Subnet.Contains(r.Ciaddr) || v.Network.Assignable(r.Ciaddr) != nil {
		return ignore(whySource)
	}
	name := ""
	if g := v.State.GuestOf(v.Network.Name, r.Client); g != nil {
		name = g.Hostname
	}
	return v.reply(r, dhcpv4.MessageTypeAck, netip.Addr{}, 0, name)
}

// answerJail tells a jail, which needs no DHCP, the address that it has.
func (v *View) answerJail(r *Request, l *fsm.Lease) Answer {
	seconds := uint32(v.Network.LeaseTime() / time.Second)
	switch r.Type {
	case dhcpv4.MessageTypeDiscover:
		return v.reply(r, dhcpv4.MessageTypeOffer, l.Addr, seconds, l.Hostname)
	case dhcpv4.MessageTypeRequest:
		want := r.Requested
		if !want.IsValid() {
			want = r.Ciaddr
		}
		if want != l.Addr {
			return v.nak(r, "your address is "+l.Addr.String())
		}
		return v.reply(r, dhcpv4.MessageTypeAck, l.Addr, seconds, l.Hostname)
	case dhcpv4.MessageTypeInform:
		return v.inform(r)
	}
	return ignore(whyJail)
}

// nameFor is the name that a guest is to have in DNS: the reserved one, else
// the one that it wants, unless a service has it.
func (v *View) nameFor(r *Request) string {
	if _, name := v.reservation(r.MAC); name != "" {
		return name
	}
	if v.Known.services[r.Hostname] {
		return ""
	}
	return r.Hostname
}

// leaseSeconds is the network's, or less if the client wants less.
func (v *View) leaseSeconds(r *Request) uint32 {
	whole := uint32(v.Network.LeaseTime() / time.Second)
	if r.Seconds == 0 || r.Seconds >= whole {
		return whole
	}
	return max(r.Seconds, min(whole, uint32(spec.MinLease/time.Second)))
}
