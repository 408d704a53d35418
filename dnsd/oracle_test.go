package dnsd

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// oracle answers a query from a Table in the plainest way there is, with
// miekg/dns and without any of the tricks of Zone and the hot path.
func oracle(t *Table, q *dns.Msg) *dns.Msg {
	reply := new(dns.Msg).SetReply(q)
	reply.Authoritative = true
	name, typ := strings.ToLower(q.Question[0].Name), q.Question[0].Qtype
	records, exists := oracleRecords(t), false
	for _, rr := range records {
		if owner := rr.Header().Name; owner == name {
			exists = true
			if rr.Header().Rrtype == typ {
				rr = dns.Copy(rr)
				rr.Header().Name = q.Question[0].Name
				reply.Answer = append(reply.Answer, rr)
			}
		} else if strings.HasSuffix(owner, "."+name) {
			exists = true
		}
	}
	if len(reply.Answer) == 0 {
		if !exists {
			reply.Rcode = dns.RcodeNameError
		}
		soa := oracleSOA(t, name)
		reply.Ns = append(reply.Ns, soa)
	}
	for _, rr := range reply.Answer {
		target := ""
		switch rr := rr.(type) {
		case *dns.SRV:
			target = rr.Target
		case *dns.NS:
			target = rr.Ns
		}
		for _, glue := range records {
			if typ := glue.Header().Rrtype; glue.Header().Name == target && (typ == dns.TypeA || typ == dns.TypeAAAA) {
				reply.Extra = append(reply.Extra, glue)
			}
		}
	}
	return reply
}

// oracleApexes are where zones begin: first the domain and reverse zones, then
// the names, from alone on, that are in none of them.
func oracleApexes(t *Table) (apexes []string, alone int) {
	apexes = []string{dns.Fqdn(t.Domain)}
	for _, prefix := range t.Reverse {
		for _, zone := range reverseZones(prefix) {
			apexes = append(apexes, zone+".")
		}
	}
	alone = len(apexes)
	for _, r := range t.Records {
		if name := r.Name + "."; !within(name, apexes[:alone]) && !slices.Contains(apexes, name) {
			apexes = append(apexes, name)
		}
	}
	return apexes, alone
}

func within(name string, zones []string) bool {
	return slices.ContainsFunc(zones, func(zone string) bool { return dns.IsSubDomain(zone, name) })
}

func oracleSOA(t *Table, name string) dns.RR {
	apexes, alone := oracleApexes(t)
	for i, apex := range apexes {
		if name == apex || i < alone && dns.IsSubDomain(apex, name) {
			return oracleSOAOf(t, apex)
		}
	}
	return nil
}

func oracleSOAOf(t *Table, apex string) dns.RR {
	return mustRR(fmt.Sprintf("%s 5 IN SOA ns.%s. hostmaster.%s. %d 60 30 86400 5", apex, t.Domain, t.Domain, t.Serial))
}

func oracleRecords(t *Table) (rrs []dns.RR) {
	apexes, _ := oracleApexes(t)
	for _, apex := range apexes {
		rrs = append(rrs, oracleSOAOf(t, apex), mustRR(fmt.Sprintf("%s 60 IN NS ns.%s.", apex, t.Domain)))
	}
	for _, ns := range t.NS {
		rrs = append(rrs, mustRR(fmt.Sprintf("ns.%s. 60 IN A %s", t.Domain, ns)))
	}
	for _, r := range t.Records {
		data := ""
		switch r.Type {
		case "A", "AAAA":
			data = r.Addr.String()
		case "PTR":
			data = r.Target + "."
		case "SRV":
			data = fmt.Sprintf("0 1 %d %s.", r.Port, r.Target)
		}
		rrs = append(rrs, mustRR(fmt.Sprintf("%s. %d IN %s %s", r.Name, r.TTL, r.Type, data)))
	}
	return rrs
}

func mustRR(s string) dns.RR {
	rr, err := dns.NewRR(s)
	if err != nil {
		panic(s + ": " + err.Error())
	}
	return rr
}

// sections are m's records in an order that does not depend on turns. Records
// repeated in the additional section count once.
func sections(m *dns.Msg) map[string][]string {
	out := map[string][]string{"flags": {fmt.Sprintf("%s aa=%v tc=%v rd=%v", dns.RcodeToString[m.Rcode], m.Authoritative, m.Truncated, m.RecursionDesired)}}
	for name, rrs := range map[string][]dns.RR{"answer": m.Answer, "authority": m.Ns, "additional": m.Extra} {
		lines := []string{}
		for _, rr := range rrs {
			if rr.Header().Rrtype != dns.TypeOPT {
				lines = append(lines, strings.ToLower(rr.String())) // owners repeat the question's case
			}
		}
		slices.Sort(lines)
		out[name] = slices.Compact(lines)
	}
	return out
}

func TestHandlerAgreesWithThePlainOracle(t *testing.T) {
	t.Parallel()
	h, table := testHandler(t), testTable()
	apexes, _ := oracleApexes(table)
	var names []string
	for _, rr := range oracleRecords(table) {
		name := rr.Header().Name
		for labels := dns.SplitDomainName(name); len(labels) > 0; labels = labels[1:] {
			names = append(names, strings.Join(labels, ".")+".")
		}
		names = append(names, "no."+name, "no.such."+name, "x"+name)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	types := []uint16{dns.TypeA, dns.TypeAAAA, dns.TypePTR, dns.TypeSRV, dns.TypeSOA, dns.TypeNS, dns.TypeTXT, dns.TypeMX, 65280}
	random := rand.New(rand.NewPCG(1, 2))
	asked := 0
	for _, name := range names {
		ours := slices.ContainsFunc(apexes, func(a string) bool { return strings.HasSuffix("."+name, "."+a) })
		if strings.HasSuffix(name, ".docs.example.org.") {
			ours = false
		}
		for _, typ := range types {
			q := query(randomCase(random, name), typ)
			q.RecursionDesired = random.IntN(2) == 0
			if random.IntN(2) == 0 {
				q.SetEdns0(4096, random.IntN(2) == 0)
			}
			got, forward := ask(t, h, q, inside, false)
			if !ours {
				if forward != q.RecursionDesired || !forward && got.Rcode != dns.RcodeRefused {
					t.Errorf("%s: not ours, got %v, forward %v", name, got, forward)
				}
				continue
			}
			asked++
			if got == nil {
				t.Fatalf("%s: no reply, forward %v", name, forward)
			}
			if diff := cmp.Diff(sections(oracle(table, q)), sections(got)); diff != "" {
				t.Fatalf("%s %s (-want +got):\n%s", q.Question[0].Name, dns.TypeToString[typ], diff)
			}
			if opt := q.IsEdns0(); opt != nil && (got.IsEdns0() == nil || got.IsEdns0().Do() != opt.Do()) {
				t.Fatalf("%s: EDNS asked %v, answered %v", name, opt, got.IsEdns0())
			}
		}
	}
	if asked < 200 {
		t.Errorf("only %d questions asked", asked)
	}
}

func randomCase(random *rand.Rand, name string) string {
	b := []byte(name)
	for i, c := range b {
		if c >= 'a' && c <= 'z' && random.IntN(2) == 0 {
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b)
}
