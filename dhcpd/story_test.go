package dhcpd

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

// lab is a cluster of one entry after the other, and the View of one network.
type lab struct {
	tb     testing.TB
	state  *fsm.State
	now    fsm.Time
	offers *Offers
}

func newLab(tb testing.TB, file string) *lab {
	tb.Helper()
	l := &lab{tb: tb, state: &fsm.State{}, now: fsm.TimeOf(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)), offers: NewOffers()}
	l.must(fsm.Genesis{ClusterID: "cluster-0001", Domain: "rex.internal", CA: "PEM"})
	l.must(fsm.RegisterHost{Host: fsm.Host{
		ID: "h1", Name: "one", Role: "server", OS: "linux", Arch: "amd64", Runtime: "sim", Version: "1", Level: fsm.Level,
		Capacity: fsm.Resources{MilliCPU: 4000, MemoryBytes: 8 << 30},
	}})
	l.wish(file)
	return l
}

func (l *lab) wish(file string) {
	l.tb.Helper()
	w, diags := spec.Parse("lab.hcl", []byte(file), spec.Inputs{})
	if w == nil {
		l.tb.Fatalf("%s", diags.Format(nil, false))
	}
	l.must(fsm.ApplyWish{Wish: *w})
}

func (l *lab) apply(cmd fsm.Command) error {
	l.tb.Helper()
	e := fsm.Entry{V: fsm.Version, At: l.now, By: "host/h1", Cmd: cmd}
	if _, user := cmd.(fsm.ApplyWish); user {
		e.By = "user/root"
	}
	raw, err := fsm.Encode(e)
	if err != nil {
		l.tb.Fatal(err)
	}
	l.state, _, err = fsm.Apply(l.state, l.state.Index+1, e, raw)
	return err
}

func (l *lab) must(cmd fsm.Command) {
	l.tb.Helper()
	if err := l.apply(cmd); err != nil {
		l.tb.Fatal(err)
	}
}

func (l *lab) view() *View {
	n, ok := l.state.Networks.Get("lab")
	if !ok {
		l.tb.Fatal("there is no network lab")
	}
	return &View{State: l.state, Network: n, Host: "h1", Now: l.now, MTU: 1420, Offers: l.offers, Known: NewKnown(l.state, n), Scan: func() bool { return true }}
}

// ask does what a Server does with one packet.
func (l *lab) ask(raw []byte) (*Request, Answer, error) {
	l.tb.Helper()
	r, err := Parse(raw)
	if err != nil {
		return nil, Answer{}, err
	}
	v := l.view()
	a := Decide(v, r)
	if a.Offered.IsValid() {
		l.offers.put(a.Offered, r.Client, v.Now)
	}
	switch {
	case a.End != nil:
		l.must(fsm.EndGuests{Network: "lab", Host: "h1", Ends: []fsm.GuestEnd{*a.End}})
		a = Answer{Why: a.End.How}
	case a.Lease != nil:
		l.must(fsm.LeaseGuests{Network: "lab", Host: "h1", Guests: []fsm.GuestAsk{*a.Lease}})
		a = Confirm(l.view(), r, a.Lease)
	}
	return r, a, nil
}

// TestStories reads as a log of clients: a message with its fields, and what
// becomes of it. Fields: mac, ci (client address), giaddr, req, sid, id, host,
// fqdn, prl, time, max, agent, broadcast.
func TestStories(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata/story", func(t *testing.T, path string) {
		var l *lab
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "file":
				if l == nil {
					l = newLab(t, d.Input)
				} else {
					l.tb = t
					l.wish(d.Input)
				}
				return ""
			case "pass":
				dur, err := time.ParseDuration(d.CmdArgs[0].Key)
				if err != nil {
					return err.Error()
				}
				l.now += fsm.Time(dur)
				return ""
			case "guests":
				return l.guests()
			}
			l.tb = t
			_, a, err := l.ask(packetOf(t, d).ToBytes())
			if err != nil {
				return "refused: " + err.Error()
			}
			return tell(t, a)
		})
	})
}

func (l *lab) guests() string {
	var b strings.Builder
	for _, g := range l.state.Guests.All {
		fmt.Fprintf(&b, "%s %s name=%q live=%v until=%s\n", g.Addr, g.Client, g.Hostname, g.Live(), g.Expires.Time().Format("15:04:05"))
	}
	return b.String()
}

var messages = map[string]dhcpv4.MessageType{
	"discover": dhcpv4.MessageTypeDiscover, "request": dhcpv4.MessageTypeRequest, "decline": dhcpv4.MessageTypeDecline,
	"release": dhcpv4.MessageTypeRelease, "inform": dhcpv4.MessageTypeInform, "offer": dhcpv4.MessageTypeOffer,
}

func packetOf(t *testing.T, d *datadriven.TestData) *dhcpv4.DHCPv4 {
	t.Helper()
	typ, ok := messages[d.Cmd]
	if !ok {
		d.Fatalf(t, "unknown command %s", d.Cmd)
	}
	p := newPacket(typ, 1)
	for _, a := range d.CmdArgs {
		v := ""
		if len(a.Vals) > 0 {
			v = a.Vals[0]
		}
		set(t, p, a.Key, v)
	}
	return p
}

func newPacket(typ dhcpv4.MessageType, mac byte) *dhcpv4.DHCPv4 {
	p, err := dhcpv4.New(dhcpv4.WithMessageType(typ), dhcpv4.WithHwAddr(net.HardwareAddr{0x52, 0x54, 0, 0, 0, mac}))
	if err != nil {
		panic(err)
	}
	p.TransactionID = dhcpv4.TransactionID{1, 2, 3, 4}
	return p
}

func set(t *testing.T, p *dhcpv4.DHCPv4, key, v string) {
	t.Helper()
	ip := net.ParseIP(v).To4()
	switch key {
	case "mac":
		hw, err := net.ParseMAC(v)
		if err != nil {
			t.Fatal(err)
		}
		p.ClientHWAddr = hw
	case "ci":
		p.ClientIPAddr = ip
	case "giaddr":
		p.GatewayIPAddr = ip
	case "req":
		p.UpdateOption(dhcpv4.OptRequestedIPAddress(ip))
	case "sid":
		p.UpdateOption(dhcpv4.OptServerIdentifier(ip))
	case "id":
		p.UpdateOption(dhcpv4.OptClientIdentifier([]byte(v)))
	case "host":
		p.UpdateOption(dhcpv4.OptHostName(v))
	case "fqdn":
		p.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionFQDN, append([]byte{1, 0, 0}, v...)))
	case "prl":
		var list []byte
		for s := range strings.SplitSeq(v, "+") {
			var n byte
			if _, err := fmt.Sscan(s, &n); err != nil {
				t.Fatal(err)
			}
			list = append(list, n)
		}
		p.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionParameterRequestList, list))
	case "time":
		dur, err := time.ParseDuration(v)
		if err != nil {
			t.Fatal(err)
		}
		p.UpdateOption(dhcpv4.OptIPAddressLeaseTime(dur))
	case "max":
		p.UpdateOption(dhcpv4.OptMaxMessageSize(1400))
	case "agent":
		p.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionRelayAgentInformation, append([]byte{1, byte(len(v))}, v...)))
	case "broadcast":
		p.SetBroadcast()
	default:
		t.Fatalf("unknown field %s", key)
	}
}

// tell writes an Answer: type, address, where it goes, and its options.
func tell(t *testing.T, a Answer) string {
	t.Helper()
	if a.Reply == nil {
		return a.Why
	}
	p, err := dhcpv4.FromBytes(a.Reply)
	if err != nil {
		t.Fatalf("the reply cannot be read: %v", err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s to %s", p.MessageType(), p.YourIPAddr, a.To)
	if p.IsBroadcast() {
		b.WriteString(" broadcast")
	}
	if !p.ServerIPAddr.IsUnspecified() {
		fmt.Fprintf(&b, " next=%s file=%s", p.ServerIPAddr, p.BootFileName)
	}
	b.WriteByte('\n')
	var codes []int
	for c := range p.Options {
		if c != dhcpv4.OptionDHCPMessageType.Code() && c != dhcpv4.OptionServerIdentifier.Code() {
			codes = append(codes, int(c))
		}
	}
	slices.Sort(codes)
	for _, c := range codes {
		b.WriteString("  " + optionText(p, byte(c)) + "\n")
	}
	return b.String()
}

func optionText(p *dhcpv4.DHCPv4, c byte) string {
	v := p.Options[c]
	switch c {
	case 1:
		return "mask " + net.IPMask(v).String()
	case 3, 6, 28, 42:
		var all []string
		for i := 0; i+4 <= len(v); i += 4 {
			a, _ := netip.AddrFromSlice(v[i : i+4])
			all = append(all, a.String())
		}
		return fmt.Sprintf("%d %s", c, strings.Join(all, " "))
	case 26:
		return fmt.Sprintf("mtu %d", int(v[0])<<8|int(v[1]))
	case 51, 58, 59:
		return fmt.Sprintf("%d %v", c, time.Duration(uint32(v[0])<<24|uint32(v[1])<<16|uint32(v[2])<<8|uint32(v[3]))*time.Second)
	case 119:
		return "search " + strings.Join(p.DomainSearch().Labels, " ")
	case 121:
		return fmt.Sprintf("routes %s", dhcpv4.Routes(p.ClasslessStaticRoute()))
	}
	return fmt.Sprintf("%d %q", c, v)
}
