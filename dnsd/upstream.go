package dnsd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

// upstream is what a resolver is asked: the question with an id of its own, in
// letters that are capital or not as chance will have it (whoever forges a reply
// must guess them too), and without the client's EDNS options, which concern the
// two of us only (RFC 6891 section 6.1.1).
func (q *question) upstream(query []byte, edns bool) []byte {
	out := append(make([]byte, 0, q.end+optLen), query[:q.end]...)
	binary.BigEndian.PutUint16(out, uint16(rand.Uint32()))
	out[2] = bitRD
	out[3] = query[3] & bitCD
	clear(out[6:headerLen])
	bits := uint64(0)
	for i := headerLen; i < q.end-4; i++ {
		if (i-headerLen)%64 == 0 {
			bits = rand.Uint64()
		}
		out[i] = lower[out[i]]
		if out[i] >= 'a' && out[i] <= 'z' && bits>>((i-headerLen)%64)&1 != 0 { // a label's length is below 'a'
			out[i] -= 'a' - 'A'
		}
	}
	if edns {
		plain := question{do: q.do}
		out = plain.appendOPT(out)
		out[11] = 1
	}
	return out
}

// exchange asks one resolver, from a port of its own, and takes only a reply
// with the same id and question (RFC 5452 section 9).
func (f *Forwarder) exchange(ctx context.Context, network string, resolver netip.AddrPort, q *question, query []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, forwardTimeout)
	defer cancel()
	conn, err := f.dial(ctx, network, resolver.String())
	if err != nil {
		return nil, fmt.Errorf("ask resolver %s: %w", resolver, err)
	}
	defer conn.Close() // nothing is left to be written
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	var reply []byte
	if network == "tcp" {
		reply, err = exchangeTCP(conn, q, query)
	} else {
		reply, err = exchangeUDP(conn, q, query)
	}
	if err != nil {
		return nil, fmt.Errorf("ask resolver %s over %s: %w", resolver, network, err)
	}
	return reply, nil
}

func exchangeUDP(conn net.Conn, q *question, query []byte) ([]byte, error) {
	if _, err := conn.Write(query); err != nil {
		return nil, err
	}
	buf := make([]byte, 4096)
	for { // until the deadline: what does not match may be forged
		n, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		if q.matches(query, buf[:n]) {
			return buf[:n], nil
		}
	}
}

func exchangeTCP(conn net.Conn, q *question, query []byte) ([]byte, error) {
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)); err != nil {
		return nil, err
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	reply := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, reply); err != nil {
		return nil, err
	}
	if !q.matches(query, reply) {
		return nil, errors.New("the reply belongs to another question")
	}
	return reply, nil
}

// matches tells whether reply answers query, letter for letter.
func (q *question) matches(query, reply []byte) bool {
	return len(reply) >= q.end && reply[2]&bitQR != 0 && string(reply[:2]) == string(query[:2]) &&
		string(reply[4:6]) == "\x00\x01" && string(reply[headerLen:q.end]) == string(query[headerLen:q.end])
}

var errNobody = errors.New("no resolver answered")

// ask tries the resolvers until one answers properly: once each over UDP, then
// over TCP. A SERVFAIL or REFUSED is kept for the case that nobody has anything
// better.
func (f *Forwarder) ask(ctx context.Context, q *question, query []byte) (reply []byte, life time.Duration) {
	var poor []byte
	for try := range max(forwardTries, len(f.resolvers)) {
		if len(f.resolvers) == 0 || ctx.Err() != nil {
			break
		}
		network := "udp"
		if try >= len(f.resolvers) { // its replies may be lost, forged or changed on the way
			network = "tcp"
		}
		reply, life, err := f.askOne(ctx, f.resolvers[try%len(f.resolvers)], network, q, query)
		if err != nil {
			continue // counted by whoever gets nothing
		}
		if code := reply[3] & maskRcode; code != dns.RcodeServerFailure && code != dns.RcodeRefused {
			return reply, life
		}
		poor = reply
	}
	return poor, failureLife
}

// askOne asks one resolver: over TCP as well if its reply was cut, without EDNS
// if it does not understand that (RFC 6891 section 7).
func (f *Forwarder) askOne(ctx context.Context, resolver netip.AddrPort, network string, q *question, query []byte) (reply []byte, life time.Duration, err error) {
	upstream := q.upstream(query, true)
	raw, err := f.exchange(ctx, network, resolver, q, upstream)
	if err == nil && (raw[3]&maskRcode == dns.RcodeFormatError || raw[3]&maskRcode == dns.RcodeNotImplemented) {
		upstream = q.upstream(query, false)
		raw, err = f.exchange(ctx, network, resolver, q, upstream)
	}
	if err == nil && raw[2]&bitTC != 0 && network == "udp" {
		raw, err = f.exchange(ctx, "tcp", resolver, q, upstream)
	}
	if err != nil {
		return nil, 0, err
	}
	var msg dns.Msg
	if err := msg.Unpack(raw); err != nil || len(msg.Question) != 1 {
		return nil, 0, fmt.Errorf("the reply of resolver %s is malformed: %w", resolver, errors.Join(err, errNobody))
	}
	return scrub(&msg, f.ours)
}
