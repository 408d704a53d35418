package dhcpd

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"pgregory.net/rapid"

	"github.com/rexcarcer/rexcarcer/fsm"
)

const smallNetwork = `
network "lab" {
  subnet = "10.0.0.0/24"
  dhcp {
    range = "10.0.0.100-10.0.0.105"
    lease = "100s"
    host "printer" {
      mac     = "52:54:00:00:00:01"
      address = "10.0.0.20"
    }
  }
}
`

// TestNobodyIsGivenWhatAnotherHas: whatever clients send, and whenever, an
// address that was promised to one of them is given to no other before its time
// is over, or it gave it back.
func TestNobodyIsGivenWhatAnotherHas(t *testing.T) {
	t.Parallel()
	type promise struct {
		client string
		until  fsm.Time
	}
	rapid.Check(t, func(rt *rapid.T) {
		l := newLab(t, smallNetwork)
		held := map[netip.Addr]promise{}
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			l.now += fsm.Time(time.Duration(rapid.SampledFrom([]int{0, 1, 5, 30, 70, 400}).Draw(rt, "pass")) * time.Second)
			p := drawPacket(rt)
			r, a, err := l.ask(p.ToBytes())
			if err != nil {
				rt.Fatal(err)
			}
			switch a.Why {
			case fsm.GuestReleased:
				delete(held, r.Ciaddr)
			case fsm.GuestDeclined:
				delete(held, r.Requested)
			}
			if a.Reply == nil {
				continue
			}
			reply, err := dhcpv4.FromBytes(a.Reply)
			if err != nil {
				rt.Fatal(err)
			}
			addr := addrOf(reply.YourIPAddr)
			if a.Type == dhcpv4.MessageTypeNak || !addr.IsValid() {
				continue
			}
			if was := held[addr]; was.client != r.Client && l.now < was.until {
				rt.Fatalf("%s gives %s to %s, and %s may use it for another %v", a.Type, addr, r.Client, was.client, was.until.Sub(l.now))
			}
			if addr.As4()[3] == 20 && r.MAC != "52:54:00:00:00:01" {
				rt.Fatalf("the reserved address was given to %s", r.MAC)
			}
			if a.Type == dhcpv4.MessageTypeAck {
				for other, was := range held { // it has moved
					if was.client == r.Client {
						delete(held, other)
					}
				}
				held[addr] = promise{r.Client, l.now.Add(reply.IPAddressLeaseTime(0))}
				if g := l.state.GuestOf("lab", r.Client); g == nil || g.Addr != addr || g.Expires < held[addr].until {
					rt.Fatalf("%s was acknowledged until %d, and the log has %+v", addr, held[addr].until, g)
				}
			}
		}
	})
}

func drawPacket(rt *rapid.T) *dhcpv4.DHCPv4 {
	types := []dhcpv4.MessageType{
		dhcpv4.MessageTypeDiscover, dhcpv4.MessageTypeDiscover, dhcpv4.MessageTypeRequest, dhcpv4.MessageTypeRequest, dhcpv4.MessageTypeRequest,
		dhcpv4.MessageTypeRelease, dhcpv4.MessageTypeDecline, dhcpv4.MessageTypeInform,
	}
	p := newPacket(rapid.SampledFrom(types).Draw(rt, "type"), byte(rapid.IntRange(1, 9).Draw(rt, "mac")))
	addr := func(name string) []byte {
		return []byte{10, 0, 0, byte(rapid.SampledFrom([]int{1, 20, 99, 100, 101, 102, 103, 104, 105, 106}).Draw(rt, name))}
	}
	if rapid.Bool().Draw(rt, "has ciaddr") {
		p.ClientIPAddr = addr("ciaddr")
	}
	if rapid.Bool().Draw(rt, "has req") {
		p.UpdateOption(dhcpv4.OptRequestedIPAddress(addr("req")))
	}
	if rapid.Bool().Draw(rt, "has sid") {
		p.UpdateOption(dhcpv4.OptServerIdentifier([]byte{10, 0, 0, 1}))
	}
	if rapid.IntRange(0, 3).Draw(rt, "has id") == 0 {
		p.UpdateOption(dhcpv4.OptClientIdentifier([]byte(rapid.SampledFrom([]string{"same", "other"}).Draw(rt, "id"))))
	}
	if rapid.Bool().Draw(rt, "has time") {
		p.UpdateOption(dhcpv4.OptIPAddressLeaseTime(time.Duration(rapid.IntRange(0, 200).Draw(rt, "time")) * time.Second))
	}
	if rapid.Bool().Draw(rt, "has name") {
		p.UpdateOption(dhcpv4.OptHostName(rapid.SampledFrom([]string{"a", "b.c", "printer", "-"}).Draw(rt, "name")))
	}
	return p
}

// TestBlocksOfLeasesDoNotHideFreeAddresses: as they are after machines were
// given addresses one after the other.
func TestBlocksOfLeasesDoNotHideFreeAddresses(t *testing.T) {
	t.Parallel()
	l := newLab(t, `network "lab" { subnet = "10.0.0.0/20" }`)
	n, _ := l.state.Networks.Get("lab")
	r := n.DHCPRanges()[0]
	c := fsm.LeaseGuests{Network: "lab", Host: "h1"}
	for i := range r.Size() * 9 / 10 {
		c.Guests = append(c.Guests, fsm.GuestAsk{Addr: r.At(i), Client: fmt.Sprint("c", i), MAC: "m", Seconds: 60})
		if len(c.Guests) == 1000 {
			l.must(c)
			c.Guests = nil
		}
	}
	l.must(c)
	for i := range 150 { // of some 205 that are left
		p := newPacket(dhcpv4.MessageTypeDiscover, byte(i))
		if _, a, err := l.ask(p.ToBytes()); err != nil || a.Type != dhcpv4.MessageTypeOffer {
			t.Fatalf("stranger %d: %+v, %v", i, a, err)
		}
	}
}

func TestStepsReachAllAddresses(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		size := int64(rapid.IntRange(1, 500).Draw(rt, "size"))
		start, stride := steps(rapid.String().Draw(rt, "name"), size)
		seen := map[int64]bool{}
		for i := range size {
			seen[(start+i*stride)%size] = true
		}
		if int64(len(seen)) != size {
			rt.Fatalf("%d of %d are reached", len(seen), size)
		}
	})
}

// FuzzHandle: any bytes get an answer or none, and what is answered can be read.
func FuzzHandle(f *testing.F) {
	for i, typ := range []dhcpv4.MessageType{dhcpv4.MessageTypeDiscover, dhcpv4.MessageTypeRequest, dhcpv4.MessageTypeDecline, dhcpv4.MessageTypeRelease, dhcpv4.MessageTypeInform} {
		p := newPacket(typ, byte(i+1))
		p.ClientIPAddr = []byte{10, 0, 0, 100}
		f.Add(p.ToBytes())
		p.ClientIPAddr = nil
		p.UpdateOption(dhcpv4.OptRequestedIPAddress([]byte{10, 0, 0, 101}))
		p.UpdateOption(dhcpv4.OptHostName("guest"))
		p.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionFQDN, []byte("\x05\x00\x00\x05guest\x03lab\x00")))
		p.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionRelayAgentInformation, []byte{1, 2, 3, 4}))
		p.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionParameterRequestList, []byte{1, 3, 6, 119, 121}))
		f.Add(p.ToBytes())
		p.GatewayIPAddr = []byte{10, 0, 0, 7}
		f.Add(p.ToBytes())
		f.Add(p.ToBytes()[:250])
	}
	base := newLab(f, smallNetwork)
	f.Fuzz(func(t *testing.T, raw []byte) {
		l := &lab{tb: t, state: base.state, now: base.now, offers: NewOffers()}
		_, a, err := l.ask(raw)
		if err != nil || a.Reply == nil {
			return
		}
		if _, err := dhcpv4.FromBytes(a.Reply); err != nil {
			t.Fatalf("the reply cannot be read: %v", err)
		}
		if len(a.Reply) > maxPacket || !a.To.IsValid() {
			t.Fatalf("a reply of %d bytes to %v", len(a.Reply), a.To)
		}
	})
}
