package dnsd

import (
	"encoding/binary"

	"github.com/miekg/dns"
)

// question is an ordinary query, taken apart.
type question struct {
	end  int // of the question section
	typ  uint16
	name int               // length of the name in key
	key  [maxName + 2]byte // lower-case name in wire format, then the type
	edns bool
	do   bool   // DNSSEC OK, to be repeated (RFC 3225)
	size uint16 // that the client takes over UDP

	cookie []byte             // of the query: the client's, perhaps with ours; nil without
	server [serverCookie]byte // ours for it
	proven bool               // the query had one of ours
}

// parse takes an ordinary query apart: opcode QUERY, one question of class IN
// with a plain name and type, and nothing else but an OPT of version 0 without
// regard to its options. It is false for all others. query has a header.
func (q *question) parse(query []byte) bool {
	const counts = 1 << 48 // one question, no answer, no authority, 0 or 1 additional
	if query[2]&(maskOpcode|bitTC) != 0 || binary.BigEndian.Uint64(query[4:])&^1 != counts {
		return false
	}
	at, n := headerLen, 0
	for {
		if at >= len(query) {
			return false
		}
		label := int(query[at])
		if label > 63 || at+label >= len(query) || n+label+1 > maxName {
			return false
		}
		q.key[n] = byte(label)
		for i := 1; i <= label; i++ {
			q.key[n+i] = lower[query[at+i]]
		}
		at += label + 1
		n += label + 1
		if label == 0 {
			break
		}
	}
	if at+4 > len(query) || query[at+2] != 0 || query[at+3] != dns.ClassINET {
		return false
	}
	q.key[n], q.key[n+1] = query[at], query[at+1]
	q.name, q.typ, q.end = n, binary.BigEndian.Uint16(query[at:]), at+4
	q.size = minUDP
	if query[11] == 0 {
		return q.end == len(query)
	}
	return q.parseOPT(query[q.end:])
}

// parseOPT reads the OPT record, RFC 6891 section 6.1.2, which must be all of
// rest.
func (q *question) parseOPT(rest []byte) bool {
	if len(rest) < optLen || rest[0] != 0 || rest[1] != 0 || rest[2] != byte(dns.TypeOPT) || rest[6] != 0 ||
		len(rest) != optLen+int(binary.BigEndian.Uint16(rest[9:])) {
		return false
	}
	q.edns, q.do = true, rest[7]&0x80 != 0
	q.size = max(minUDP, min(maxUDP, binary.BigEndian.Uint16(rest[3:])))
	for options := rest[optLen:]; len(options) > 0; {
		if len(options) < optHeader {
			return false
		}
		end := optHeader + int(binary.BigEndian.Uint16(options[2:]))
		if end > len(options) {
			return false
		}
		if binary.BigEndian.Uint16(options) == optCookie && q.cookie == nil { // RFC 7873 section 5.2: only the first counts
			if !plausibleCookie(end - optHeader) {
				return false
			}
			q.cookie = options[optHeader:end]
		}
		options = options[end:]
	}
	return true
}

// plausibleCookie: the client's alone, or with a server's of 8 to 32 bytes.
func plausibleCookie(n int) bool { return n == clientCookie || n >= 16 && n <= 40 }

// plainType excludes OPT and the types from 128 on, which are questions about
// the server or the transaction (TKEY, TSIG, IXFR, AXFR, ANY ...).
func plainType(t uint16) bool { return t != dns.TypeOPT && (t < 128 || t > 255) }

// optSize is how many bytes appendOPT will append for q, if q has EDNS.
func (q *question) optSize() int {
	switch {
	case !q.edns:
		return 0
	case q.cookie == nil:
		return optLen
	}
	return optLen + optHeader + cookieLen
}

func (q *question) appendOPT(msg []byte) []byte {
	do := byte(0)
	if q.do {
		do = 0x80
	}
	msg = append(msg, 0, 0, byte(dns.TypeOPT), maxUDP>>8, maxUDP&0xff, 0, 0, do, 0, 0, 0)
	if q.cookie == nil {
		return msg
	}
	msg[len(msg)-1] = optHeader + cookieLen
	msg = append(msg, 0, optCookie, 0, cookieLen)
	msg = append(msg, q.cookie[:clientCookie]...)
	return append(msg, q.server[:]...)
}

// addCookie adds the cookies to a reply that ends with an OPT without options.
func (q *question) addCookie(reply []byte) []byte {
	at := len(reply) - optLen
	if q.cookie == nil || at < headerLen || reply[11] == 0 || string(reply[at:at+3]) != "\x00\x00\x29" || string(reply[at+9:]) != "\x00\x00" {
		return reply
	}
	reply[at+10] = optHeader + cookieLen
	reply = append(reply, 0, optCookie, 0, cookieLen)
	reply = append(reply, q.cookie[:clientCookie]...)
	return append(reply, q.server[:]...)
}
