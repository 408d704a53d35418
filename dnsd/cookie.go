package dnsd

import (
	"crypto/rand"
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// Sizes of DNS cookies, RFC 7873 section 4 and RFC 9018 section 4.
const (
	optCookie    = 10 // EDNS option code
	clientCookie = 8
	serverCookie = 16
	cookieLen    = clientCookie + serverCookie
	optHeader    = 4 // of an EDNS option: code and length
)

// How old, and how far in our future, a cookie may be: RFC 9018 section 4.3, seconds.
const (
	cookieAge   = 3600
	cookieAhead = 300
)

// cookies makes and checks server cookies. A client that has one of ours can
// receive at the address that it claims: what it asks is not forged.
type cookies struct{ k0, k1 uint64 }

// newCookies has a secret of its own, which ends with this process.
func newCookies() cookies {
	var secret [16]byte
	rand.Read(secret[:]) // never fails: crypto/rand
	return cookies{binary.LittleEndian.Uint64(secret[:8]), binary.LittleEndian.Uint64(secret[8:])}
}

// server appends to b the server cookie for client (8 bytes) at from, made at
// now, Unix seconds: version, reserved, time and hash (RFC 9018 section 4).
func (c *cookies) server(b, client []byte, from netip.Addr, now uint32) []byte {
	head := [8]byte{0: 1}
	binary.BigEndian.PutUint32(head[4:], now)
	var in [32]byte
	copy(in[:], client[:clientCookie])
	copy(in[8:], head[:])
	n := 20
	if from = from.Unmap(); from.Is4() {
		a := from.As4()
		copy(in[16:], a[:])
	} else {
		a := from.As16()
		n = 16 + copy(in[16:], a[:])
	}
	b = append(b, head[:]...)
	return binary.LittleEndian.AppendUint64(b, c.hash(in[:n]))
}

// valid tells whether cookie, client's and server's part, is one of ours.
func (c *cookies) valid(cookie []byte, from netip.Addr, now uint32) bool {
	if len(cookie) != cookieLen {
		return false
	}
	made := binary.BigEndian.Uint32(cookie[clientCookie+4:])
	if age := int32(now - made); age > cookieAge || age < -cookieAhead {
		return false
	}
	var want [serverCookie]byte
	return string(c.server(want[:0], cookie, from, made)) == string(cookie[clientCookie:])
}

// hash is SipHash-2-4 of in, a multiple of 4 bytes (Aumasson and Bernstein,
// 2012).
func (c *cookies) hash(in []byte) uint64 {
	v0, v1, v2, v3 := c.k0^0x736f6d6570736575, c.k1^0x646f72616e646f6d, c.k0^0x6c7967656e657261, c.k1^0x7465646279746573
	round := func() {
		v0 += v1
		v1 = bits.RotateLeft64(v1, 13) ^ v0
		v0 = bits.RotateLeft64(v0, 32)
		v2 += v3
		v3 = bits.RotateLeft64(v3, 16) ^ v2
		v0 += v3
		v3 = bits.RotateLeft64(v3, 21) ^ v0
		v2 += v1
		v1 = bits.RotateLeft64(v1, 17) ^ v2
		v2 = bits.RotateLeft64(v2, 32)
	}
	last := uint64(len(in)) << 56
	for ; len(in) >= 8; in = in[8:] {
		m := binary.LittleEndian.Uint64(in)
		v3 ^= m
		round()
		round()
		v0 ^= m
	}
	if len(in) == 4 {
		last |= uint64(binary.LittleEndian.Uint32(in))
	}
	v3 ^= last
	round()
	round()
	v0 ^= last
	v2 ^= 0xff
	for range 4 {
		round()
	}
	return v0 ^ v1 ^ v2 ^ v3
}
