package netd

import (
	"encoding/binary"
	"net/netip"
)

// What tells neighbours that an address is somewhere else now. They would find out by themselves only after half a minute.

var (
	everybody  = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	everybody6 = MAC{0x33, 0x33, 0, 0, 0, 1} // RFC 2464, section 7, for ff02::1
)

// gratuitous is the frame that says that a is at mac: a gratuitous ARP request (RFC 5227, section 3), or an unsolicited
// neighbour advertisement (RFC 4861, section 7.2.6).
func gratuitous(a netip.Addr, mac MAC) []byte {
	if a.Is4() {
		return gratuitousARP(a, mac)
	}
	return advertisement(a, mac)
}

func gratuitousARP(a netip.Addr, mac MAC) []byte {
	f := make([]byte, 0, 42)
	f = append(append(append(f, everybody[:]...), mac[:]...), 0x08, 0x06)
	f = append(f, 0, 1, 0x08, 0, 6, 4, 0, 1) // Ethernet, IPv4, lengths, request
	f = append(append(f, mac[:]...), a.AsSlice()...)
	return append(append(f, make([]byte, 6)...), a.AsSlice()...)
}

func advertisement(a netip.Addr, mac MAC) []byte {
	f := make([]byte, 0, 86)
	f = append(append(append(f, everybody6[:]...), mac[:]...), 0x86, 0xdd)
	all := netip.MustParseAddr("ff02::1").As16()
	from := linkLocal(mac).As16()
	f = append(f, 0x60, 0, 0, 0, 0, 32, 58, 255) // version, length, ICMPv6, hop limit
	f = append(append(f, from[:]...), all[:]...)
	body := []byte{136, 0, 0, 0, 0x20, 0, 0, 0} // neighbour advertisement, override
	body = append(append(body, a.AsSlice()...), 2, 1)
	body = append(body, mac[:]...) // target link-layer address
	binary.BigEndian.PutUint16(body[2:], checksum6(from, all, body))
	return append(f, body...)
}

// checksum6 is the checksum of an ICMPv6 message (RFC 4443, section 2.3).
func checksum6(from, to [16]byte, body []byte) uint16 {
	sum := uint32(len(body)) + 58 //nolint:gosec // 32
	for _, part := range [][]byte{from[:], to[:], body} {
		for i := 0; i+1 < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum) //nolint:gosec // folded
}
