package dnsd

import (
	"net/netip"
	"strconv"
	"strings"
)

// reverseLabels names the reverse zone of addr's first bits, a multiple of 8
// for IPv4 (in-addr.arpa, RFC 1035 section 3.5) and of 4 for IPv6 (ip6.arpa,
// RFC 3596 section 2.5).
func reverseLabels(addr netip.Addr, bits int) string {
	var b strings.Builder
	if addr.Is4() {
		octets := addr.As4()
		for i := bits/8 - 1; i >= 0; i-- {
			b.WriteString(strconv.Itoa(int(octets[i])))
			b.WriteByte('.')
		}
		b.WriteString("in-addr.arpa")
		return b.String()
	}
	const hex = "0123456789abcdef"
	octets := addr.As16()
	for i := bits/4 - 1; i >= 0; i-- {
		b.WriteByte(hex[octets[i/2]>>(4*(1-i%2))&15])
		b.WriteByte('.')
	}
	b.WriteString("ip6.arpa")
	return b.String()
}

// reverseZones are the names that together cover prefix and nothing else: up
// to 128 for IPv4 and 8 for IPv6, since a name has whole octets or nibbles.
func reverseZones(prefix netip.Prefix) []string {
	prefix = prefix.Masked()
	addr, step := prefix.Addr(), 8
	if addr.Is6() {
		step = 4
	}
	bits := (prefix.Bits() + step - 1) / step * step
	if bits == 0 {
		return nil // the whole Internet's reverse tree is not ours
	}
	var names []string
	octets := addr.AsSlice()
	for i := range 1 << (bits - prefix.Bits()) {
		at := append([]byte(nil), octets...)
		at[(bits-1)/8] += byte(i << ((8 - bits%8) % 8))
		if zone, ok := netip.AddrFromSlice(at); ok {
			names = append(names, reverseLabels(zone, bits))
		}
	}
	return names
}
