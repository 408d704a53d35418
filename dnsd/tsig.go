package dnsd

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Key is a secret that a peer shares with us, for TSIG (RFC 8945).
type Key struct {
	Name      string // lower case, with a final dot
	Algorithm string // as in a TSIG record: "hmac-sha256."
	Secret    string // in base64
}

// keyAlgorithms are those that may be used. MD5 and SHA-1 are not.
var keyAlgorithms = []string{dns.HmacSHA224, dns.HmacSHA256, dns.HmacSHA384, dns.HmacSHA512}

// ParseKey reads [ALGORITHM:]NAME:SECRET, as dig -y takes it; the algorithm is
// hmac-sha256 unless it is given. An error does not show the secret.
func ParseKey(text string) (Key, error) {
	parts := strings.Split(text, ":")
	if len(parts) == 2 {
		parts = slices.Insert(parts, 0, "hmac-sha256")
	}
	if len(parts) != 3 {
		return Key{}, errors.New("want [ALGORITHM:]NAME:SECRET, as dig -y takes it")
	}
	k := Key{Name: dns.Fqdn(strings.ToLower(parts[1])), Algorithm: dns.Fqdn(strings.ToLower(parts[0])), Secret: parts[2]}
	if _, ok := dns.IsDomainName(k.Name); !ok || k.Name == "." {
		return Key{}, fmt.Errorf("key name %q: not a DNS name", parts[1])
	}
	if !slices.Contains(keyAlgorithms, k.Algorithm) {
		return Key{}, fmt.Errorf("key %s: algorithm %q: want hmac-sha224, -sha256, -sha384 or -sha512", parts[1], parts[0])
	}
	secret, err := base64.StdEncoding.DecodeString(k.Secret)
	if err != nil || len(secret) < 16 {
		return Key{}, fmt.Errorf("key %s: the secret is not base64 of 16 bytes or more: make one with tsig-keygen", parts[1])
	}
	return k, nil
}

// Peer may have whole zones.
type Peer struct {
	Net netip.Prefix // of its address
	Key string       // that it must sign with, as Key.Name; empty: none
}

// AllowTransfers lets peers have whole zones. It is called before anything is
// answered.
func (h *Handler) AllowTransfers(peers []Peer, keys []Key) {
	h.peers = peers
	h.keys = map[string]Key{}
	for _, k := range keys {
		h.keys[k.Name] = k
	}
}

// allowed tells whether source, who signed with key (empty: did not sign), may
// have whole zones.
func (h *Handler) allowed(source netip.Addr, key string) bool {
	return slices.ContainsFunc(h.peers, func(p Peer) bool { return p.Net.Contains(source) && p.Key == key })
}

// signer signs the replies to one query.
type signer struct {
	key  Key
	mac  string // of what was signed last
	more bool   // it was one of several messages (RFC 8945 section 5.3.1)
}

// verify checks the TSIG record of query, whose message msg is. A code other
// than 0 is the TSIG error that it deserves.
func (h *Handler) verify(query []byte, tsig *dns.TSIG) (s *signer, code uint16) {
	key, ok := h.keys[strings.ToLower(tsig.Hdr.Name)]
	if !ok || !strings.EqualFold(tsig.Algorithm, key.Algorithm) {
		return nil, dns.RcodeBadKey
	}
	// A copy: the library changes the id and a count in place.
	switch err := dns.TsigVerify(slices.Clone(query), key.Secret, "", false); {
	case errors.Is(err, dns.ErrTime):
		return &signer{key: key, mac: tsig.MAC}, dns.RcodeBadTime
	case err != nil:
		return nil, dns.RcodeBadSig
	}
	return &signer{key: key, mac: tsig.MAC}, 0
}

// sign packs m with a TSIG record at its end.
func (s *signer) sign(m *dns.Msg, now int64) ([]byte, error) {
	m.SetTsig(s.key.Name, s.key.Algorithm, 300, now)
	packed, mac, err := dns.TsigGenerate(m, s.key.Secret, s.mac, s.more)
	s.mac, s.more = mac, true
	return packed, err
}

// unsigned is the reply to a query whose TSIG record we cannot accept: RFC 8945
// section 5.2. Only one that is late can be signed.
func unsigned(query *dns.Msg, s *signer, code uint16, now int64) ([]byte, error) {
	reply := new(dns.Msg).SetRcode(query, dns.RcodeNotAuth)
	asked := query.IsTsig()
	reply.SetTsig(dns.Fqdn(asked.Hdr.Name), dns.Fqdn(asked.Algorithm), 300, now) // empty ones are read, but cannot be written
	tsig := reply.IsTsig()
	tsig.Error = code
	if s == nil {
		tsig.OrigId = query.Id
		return reply.Pack()
	}
	tsig.TimeSigned = asked.TimeSigned
	tsig.OtherData = fmt.Sprintf("%012x", now)
	tsig.OtherLen = 6
	packed, _, err := dns.TsigGenerate(reply, s.key.Secret, s.mac, false)
	return packed, err
}

// signed answers a query that has a TSIG record: what it is without, signed as
// it was.
func (h *Handler) signed(zone *Zone, buf, query []byte, msg *dns.Msg, source netip.Addr, udp bool, now int64) ([]byte, verdict) {
	s, code := h.verify(query, msg.IsTsig())
	if code != 0 {
		reply, err := unsigned(msg, s, code, now)
		if err != nil {
			return failure(buf, query, dns.RcodeServerFailure), sealed
		}
		return reply, sealed
	}
	msg.Extra = msg.Extra[:len(msg.Extra)-1]
	inner, err := msg.Pack()
	if err != nil {
		return failure(buf, query, dns.RcodeFormatError), sealed
	}
	var q question
	var reply []byte
	what := unusual
	if q.parse(inner) && plainType(q.typ) {
		q.cookie = nil // a signature is more than a cookie
		reply, what = q.reply(zone, nil, inner, udp)
	}
	if what == unusual {
		reply, what = h.slow(zone, nil, inner, source, s.key.Name, udp, now)
	}
	if what == foreign { // a stranger's business is not worth a signature
		return nil, foreign
	}
	var plain dns.Msg
	if err := plain.Unpack(reply); err != nil {
		return failure(buf, query, dns.RcodeServerFailure), sealed
	}
	plain.RecursionAvailable = plain.RecursionDesired && h.recurse(source)
	limit := maxTCP
	if udp {
		limit = max(minUDP, int(q.size))
	}
	out, err := (&signer{key: s.key, mac: s.mac}).sign(&plain, now)
	if err == nil && len(out) > limit {
		cut := dns.Msg{MsgHdr: plain.MsgHdr, Question: plain.Question}
		cut.Truncated = true
		out, err = s.sign(&cut, now)
	}
	if err != nil {
		return failure(buf, query, dns.RcodeServerFailure), sealed
	}
	return out, sealed
}
