package dnsd

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// Reply is an answer for people and programs: what `rexctl dns query` shows.
type Reply struct {
	Name          string // as asked, with a final dot
	Type          string
	Rcode         string // NOERROR, NXDOMAIN, ...
	Authoritative bool   // from the cluster's zone, not from a resolver
	Answers       []ReplyRecord
}

// ReplyRecord is one record in the form of a zone file.
type ReplyRecord struct {
	Name string // with a final dot
	Type string
	TTL  uint32 // seconds
	Data string
}

// Query asks h, as this host would over TCP, and f (which may be nil) for
// foreign names. typ is a record type's name, such as "A".
func (h *Handler) Query(ctx context.Context, f *Forwarder, name, typ string) (Reply, error) {
	code, ok := dns.StringToType[strings.ToUpper(typ)]
	if !ok {
		return Reply{}, fmt.Errorf("query %s: %q is no record type: use A, AAAA, PTR, SRV, SOA, NS, TXT and such", name, typ)
	}
	if _, ok := dns.IsDomainName(name); !ok {
		return Reply{}, fmt.Errorf("query %q: not a DNS name", name)
	}
	query, err := new(dns.Msg).SetQuestion(dns.Fqdn(name), code).SetEdns0(maxUDP, false).Pack()
	if err != nil {
		return Reply{}, fmt.Errorf("query %s: %w", name, err)
	}
	packed, forward := h.Answer(nil, query, netip.AddrPortFrom(netip.IPv6Loopback(), 0), false)
	if forward && f == nil {
		packed = servfail(query)
	} else if forward {
		f.handler.CompareAndSwap(nil, h)
		packed = f.Forward(ctx, query, false)
	}
	var msg dns.Msg
	if err := msg.Unpack(packed); err != nil {
		return Reply{}, fmt.Errorf("query %s: the answer is malformed: %w", name, err)
	}
	reply := Reply{Name: dns.Fqdn(name), Type: dns.TypeToString[code], Rcode: dns.RcodeToString[msg.Rcode], Authoritative: msg.Authoritative}
	for _, rr := range msg.Answer {
		head := rr.Header()
		reply.Answers = append(reply.Answers, ReplyRecord{
			Name: head.Name, Type: dns.TypeToString[head.Rrtype], TTL: head.Ttl, Data: strings.TrimPrefix(rr.String(), head.String()),
		})
	}
	return reply, nil
}
