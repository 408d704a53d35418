package dnsd

import (
	"encoding/binary"
	"errors"
	"strings"

	"github.com/miekg/dns"
)

const (
	headerLen = 12
	maxName   = 255 // RFC 1035 section 2.3.4
	maxUDP    = 1232
	minUDP    = 512
	maxTCP    = 65535
	optLen    = 11

	toQuestion = 0xc000 | headerLen // compression pointer to the question's name
)

var errName = errors.New("not a DNS name")

// appendName appends name (lower case, no trailing dot) in wire format.
func appendName(b []byte, name string) ([]byte, error) {
	if len(name) > maxName-2 {
		return b, errName
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return b, errName
		}
		b = append(b, byte(len(label)))
		b = append(b, label...)
	}
	return append(b, 0), nil
}

// appendRR appends a record whose owner is the compression pointer owner.
func appendRR(b []byte, owner uint16, rrtype uint16, ttl uint32, rdata ...[]byte) []byte {
	n := 0
	for _, part := range rdata {
		n += len(part)
	}
	b = binary.BigEndian.AppendUint16(b, owner)
	b = binary.BigEndian.AppendUint16(b, rrtype)
	b = binary.BigEndian.AppendUint16(b, dns.ClassINET)
	b = binary.BigEndian.AppendUint32(b, ttl)
	b = binary.BigEndian.AppendUint16(b, uint16(n))
	for _, part := range rdata {
		b = append(b, part...)
	}
	return b
}

// rrHeader is what appendRR writes before the data.
const rrHeader = 12

// lower maps ASCII letters to lower case and leaves all else, as RFC 4343 says.
var lower = func() (table [256]byte) {
	for i := range table {
		table[i] = byte(i)
		if i >= 'A' && i <= 'Z' {
			table[i] += 'a' - 'A'
		}
	}
	return table
}()
