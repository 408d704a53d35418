package api

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/rexcarcer/rexcarcer/fsm"
)

func (s *Server) listRecords(r *request) error {
	st := s.state(r)
	network := r.URL.Query().Get("network")
	return replyPage(r, st.Index, st.Records, func(rec *fsm.Record) (RecordRow, bool) {
		return RecordRow{
			Name: rec.Name, Type: rec.Type, TTL: rec.TTL, Data: recordData(rec), Network: rec.Network,
			Jail: string(rec.Jail), Service: rec.Service,
		}, network == "" || rec.Network == network
	})
}

// recordData is the record's right-hand side in the form of a zone file.
func recordData(rec *fsm.Record) string {
	switch rec.Type {
	case "SRV":
		return "0 1 " + strconv.Itoa(int(rec.Port)) + " " + rec.Target + "."
	case "PTR":
		return rec.Target + "."
	}
	return rec.Addr.String()
}

func (s *Server) queryDNS(r *request) error {
	q := r.URL.Query()
	name, qtype := strings.ToLower(q.Get("name")), strings.ToUpper(q.Get("type"))
	if name == "" || len(name) > 254 {
		return fail("bad_request", "", "rexctl dns query NAME [TYPE]", "name must have 1 to 254 characters")
	}
	if a, err := netip.ParseAddr(name); err == nil && (qtype == "" || qtype == "PTR") {
		name, qtype = reverseName(a), "PTR"
	}
	if qtype == "" {
		qtype = "A"
	}
	answer, err := s.cfg.Host.Query(r.Context(), name, qtype)
	if err != nil {
		return err
	}
	if answer.Answers == nil {
		answer.Answers = []DNSRecord{}
	}
	return r.reply(s.cfg.Log.State().Index, answer)
}

// reverseName is the name under which a's PTR is found: RFC 1035 section 3.5,
// RFC 3596 section 2.5.
func reverseName(a netip.Addr) string {
	a = a.Unmap()
	var b strings.Builder
	raw := a.AsSlice()
	for i := len(raw) - 1; i >= 0; i-- {
		if a.Is4() {
			b.WriteString(strconv.Itoa(int(raw[i])) + ".")
			continue
		}
		b.WriteString(strconv.FormatInt(int64(raw[i]&15), 16) + "." + strconv.FormatInt(int64(raw[i]>>4), 16) + ".")
	}
	if a.Is4() {
		return b.String() + "in-addr.arpa"
	}
	return b.String() + "ip6.arpa"
}
