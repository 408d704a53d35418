package dnsd

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// maxChain is how many aliases are followed from one name to the next.
const maxChain = 16

// scrub is what of a resolver's reply we believe and pass on, packed, with how
// long it may be kept: the records of the name that was asked and of those that
// it is an alias of, and what proves that there are none. A resolver has no
// business with other names (RFC 5452 section 6), and least of all with ours.
// EDNS options are between two neighbours: they are left out.
func scrub(reply *dns.Msg, ours func(name string) bool) (packed []byte, life time.Duration, err error) {
	asked := reply.Question[0]
	asked.Name = strings.ToLower(asked.Name)
	clean := dns.Msg{MsgHdr: reply.MsgHdr, Compress: true, Question: []dns.Question{asked}}
	clean.Authoritative, clean.Truncated, clean.RecursionAvailable, clean.Id = false, false, true, 0
	clean.Rcode &= maskRcode // the rest of an extended one is in EDNS
	names := aliases(asked.Name, reply.Answer)
	for _, rr := range reply.Answer {
		head := rr.Header()
		owner := strings.ToLower(head.Name)
		fits := slices.Contains(names, owner) && (head.Rrtype == asked.Qtype || head.Rrtype == dns.TypeCNAME || head.Rrtype == dns.TypeRRSIG || asked.Qtype == dns.TypeANY)
		if head.Rrtype == dns.TypeDNAME || head.Rrtype == dns.TypeRRSIG {
			fits = fits || covers(owner, names)
		}
		if fits && head.Class == dns.ClassINET && !ours(owner) {
			head.Name = owner
			clean.Answer = append(clean.Answer, rr)
		}
	}
	for _, rr := range reply.Ns {
		head := rr.Header()
		owner := strings.ToLower(head.Name)
		proof := head.Rrtype == dns.TypeNSEC || head.Rrtype == dns.TypeNSEC3 || head.Rrtype == dns.TypeRRSIG || head.Rrtype == dns.TypeDS
		if (proof || covers(owner, names)) && head.Class == dns.ClassINET && !ours(owner) {
			head.Name = owner
			clean.Ns = append(clean.Ns, rr)
		}
	}
	if packed, err = clean.Pack(); err != nil {
		return nil, 0, fmt.Errorf("pack what a resolver said: %w", err)
	}
	// A record may be read that cannot be written: one without data, say.
	if err := new(dns.Msg).Unpack(packed); err != nil {
		return nil, 0, fmt.Errorf("a resolver's records are malformed: %w", err)
	}
	return packed, lifeOf(&clean), nil
}

// aliases are name and what the CNAMEs among answers lead to from there.
func aliases(name string, answers []dns.RR) []string {
	names := []string{name}
	for i := 0; i < len(names) && i < maxChain; i++ {
		for _, rr := range answers {
			alias, ok := rr.(*dns.CNAME)
			if !ok || strings.ToLower(alias.Hdr.Name) != names[i] {
				continue
			}
			if target := strings.ToLower(alias.Target); !slices.Contains(names, target) {
				names = append(names, target)
			}
		}
	}
	return names
}

// covers tells whether one of names is owner or below it.
func covers(owner string, names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return dns.IsSubDomain(owner, name) })
}

// lifeOf is how long reply may be kept: the shortest TTL, for a negative one
// what its SOA says (RFC 2308 section 5).
func lifeOf(reply *dns.Msg) time.Duration {
	if reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError {
		return failureLife
	}
	shortest, known := uint32(cacheMax/time.Second), false
	for _, rr := range reply.Answer {
		shortest, known = min(shortest, rr.Header().Ttl), true
	}
	if negative := reply.Rcode == dns.RcodeNameError || !slices.ContainsFunc(reply.Answer, func(rr dns.RR) bool {
		return rr.Header().Rrtype == reply.Question[0].Qtype
	}); negative {
		known = false
		for _, rr := range reply.Ns {
			if soa, ok := rr.(*dns.SOA); ok {
				shortest, known = min(shortest, soa.Hdr.Ttl, soa.Minttl, uint32(negativeMax/time.Second)), true
			}
		}
	}
	if !known {
		return 0
	}
	return time.Duration(shortest) * time.Second
}
