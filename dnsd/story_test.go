package dnsd

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/miekg/dns"
)

// TestAnswers reads as a session with dig. `zone` sets the table; `dig` asks,
// with +tcp, +edns=SIZE, +norec and from=ADDRESS.
func TestAnswers(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata/answer", func(t *testing.T, path string) {
		h := NewHandler(func(a netip.Addr) bool { return a.IsPrivate() }, nil)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "zone":
				z := NewZone(parseTable(t, d))
				h.SetZone(z)
				return fmt.Sprintf("%d records, %d skipped\n", z.Records, z.Skipped)
			case "dig":
				return dig(t, h, d)
			}
			d.Fatalf(t, "unknown command %s", d.Cmd)
			return ""
		})
	})
}

func parseTable(t *testing.T, d *datadriven.TestData) *Table {
	table := &Table{Domain: "rex.internal", Serial: 7, NS: []netip.Addr{addr("10.66.0.1")}, Reverse: []netip.Prefix{netip.MustParsePrefix("10.66.0.0/24")}}
	for line := range strings.Lines(d.Input) {
		f := strings.Fields(line)
		if len(f) < 4 {
			d.Fatalf(t, "want NAME TTL TYPE DATA: %s", line)
		}
		ttl, err := strconv.ParseUint(f[1], 10, 32)
		if err != nil {
			d.Fatalf(t, "%s: %v", line, err)
		}
		r := Record{Name: f[0], TTL: uint32(ttl), Type: f[2]}
		switch r.Type {
		case "A", "AAAA":
			r.Addr = addr(f[3])
		case "SRV":
			port, err := strconv.ParseUint(f[3], 10, 16)
			if err != nil {
				d.Fatalf(t, "%s: %v", line, err)
			}
			r.Port, r.Target = uint16(port), f[4]
		default:
			r.Target = f[3]
		}
		table.Records = append(table.Records, r)
	}
	return table
}

func dig(t *testing.T, h *Handler, d *datadriven.TestData) string {
	q := query(dns.Fqdn(d.CmdArgs[0].Key), dns.StringToType[d.CmdArgs[1].Key])
	from, udp := inside, true
	for _, arg := range d.CmdArgs[2:] {
		switch arg.Key {
		case "+tcp":
			udp = false
		case "+norec":
			q.RecursionDesired = false
		case "+edns":
			size, err := strconv.ParseUint(arg.Vals[0], 10, 16)
			if err != nil {
				d.Fatalf(t, "%v", err)
			}
			q.SetEdns0(uint16(size), false)
		case "from":
			from = netip.AddrPortFrom(addr(arg.Vals[0]), 4000)
		default:
			d.Fatalf(t, "unknown option %s", arg)
		}
	}
	reply, forward := ask(t, h, q, from, udp)
	if forward {
		return "forwarded\n"
	}
	var b strings.Builder
	flags := ""
	for _, flag := range []struct {
		name string
		set  bool
	}{{"aa", reply.Authoritative}, {"tc", reply.Truncated}, {"rd", reply.RecursionDesired}, {"ra", reply.RecursionAvailable}} {
		if flag.set {
			flags += " " + flag.name
		}
	}
	fmt.Fprintf(&b, "%s%s\n", dns.RcodeToString[reply.Rcode], flags)
	for _, section := range []struct {
		name string
		rrs  []dns.RR
	}{{"answer", reply.Answer}, {"authority", reply.Ns}, {"additional", reply.Extra}} {
		for _, rr := range section.rrs {
			text := strings.Join(strings.Fields(rr.String()), " ")
			if opt, ok := rr.(*dns.OPT); ok {
				text = fmt.Sprintf("EDNS udp=%d", opt.UDPSize())
			}
			fmt.Fprintf(&b, "%-10s %s\n", section.name, text)
		}
	}
	return b.String()
}
