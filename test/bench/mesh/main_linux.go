// Command mesh measures one TCP stream between two jails on two hosts over the overlay, beside one between two bare
// namespaces with the same WireGuard library set up by hand: what bridges, routes and rules cost on top of it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/rexcarcer/rexcarcer/test/bench/report"
	"github.com/rexcarcer/rexcarcer/test/overlay"
)

const goal = 0.8

func main() {
	rounds := flag.Int("rounds", 5, "measurements of each, by turns")
	length := flag.Duration("length", 2*time.Second, "of each")
	flag.Parse()
	if err := bench(*rounds, *length); err != nil {
		fmt.Fprintln(os.Stderr, "bench mesh:", err)
		os.Exit(1)
	}
}

func bench(rounds int, length time.Duration) (err error) {
	ctx := context.Background()
	dir, err := os.MkdirTemp("/var/tmp", "rexcarcer-bench-mesh-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	lab, err := overlay.New(ctx, dir, 2)
	defer func() { err = errors.Join(err, lab.Close()) }()
	if err != nil {
		return err
	}
	a, err := lab.Place(ctx, 0, "11111111", "10.66.0.3")
	if err != nil {
		return err
	}
	b, err := lab.Place(ctx, 1, "22222222", "10.66.0.4")
	if err != nil {
		return err
	}
	plain, err := overlay.NewPlain()
	defer func() { err = errors.Join(err, plain.Close()) }()
	if err != nil {
		return err
	}
	stream := report.Row{Name: "one TCP stream between two jails", Unit: "Mbit/s", PeerName: "wireguard-go by hand", HigherIsBetter: true}
	trip := report.Row{Name: "round trip of 64 bytes", Unit: "us", PeerName: "wireguard-go by hand"}
	sides := []struct {
		from, to string
		addr     netip.Addr
		row, rtt *[]float64
	}{
		{a, b, netip.MustParseAddr("10.66.0.4"), &stream.Ours, &trip.Ours},
		{plain.NS[0], plain.NS[1], plain.Addrs[1], &stream.Peer, &trip.Peer},
	}
	for range rounds {
		for _, s := range sides {
			rate, err := throughput(s.from, s.to, s.addr, length)
			if err != nil {
				return err
			}
			rtt, err := roundTrip(s.from, s.to, s.addr, 500)
			if err != nil {
				return err
			}
			*s.row, *s.rtt = append(*s.row, rate), append(*s.rtt, rtt)
		}
	}
	if err := report.Write("mesh", []report.Row{stream, trip}); err != nil {
		return err
	}
	if r := stream.Ratio(); r < goal {
		return fmt.Errorf("%.2f of the peer, the goal is %.2f", r, goal)
	}
	return nil
}

// throughput sends from one namespace to an address of another and returns what arrived, in Mbit/s.
func throughput(from, to string, addr netip.Addr, length time.Duration) (float64, error) {
	var l net.Listener
	err := overlay.In(to, func() (err error) {
		l, err = net.Listen("tcp", netip.AddrPortFrom(addr, 0).String())
		return err
	})
	if err != nil {
		return 0, err
	}
	defer l.Close()
	type result struct {
		n   int64
		d   time.Duration
		err error
	}
	got := make(chan result, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			got <- result{err: err}
			return
		}
		defer c.Close()
		begun := time.Now()
		n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{c}, make([]byte, 1<<20))
		got <- result{n, time.Since(begun), err}
	}()
	var c net.Conn
	err = overlay.In(from, func() (err error) {
		c, err = net.DialTimeout("tcp", l.Addr().String(), 20*time.Second)
		return err
	})
	if err != nil {
		return 0, err
	}
	buf := make([]byte, 1<<20)
	for end := time.Now().Add(length); time.Now().Before(end); {
		if _, err := c.Write(buf); err != nil {
			return 0, errors.Join(err, c.Close())
		}
	}
	if err := c.Close(); err != nil {
		return 0, err
	}
	r := <-got
	return float64(r.n) * 8 / 1e6 / r.d.Seconds(), r.err
}

// roundTrip is the mean of n questions that are answered, one after the other, in microseconds.
func roundTrip(from, to string, addr netip.Addr, n int) (float64, error) {
	var l, c net.Conn
	err := overlay.In(to, func() (err error) {
		l, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
		return err
	})
	if err != nil {
		return 0, err
	}
	defer l.Close()
	go func() {
		buf := make([]byte, 64)
		conn := l.(*net.UDPConn) //nolint:forcetypeassert // made above
		for {
			k, who, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			_, _ = conn.WriteToUDPAddrPort(buf[:k], who)
		}
	}()
	err = overlay.In(from, func() (err error) {
		c, err = net.Dial("udp", l.LocalAddr().String())
		return err
	})
	if err != nil {
		return 0, err
	}
	defer c.Close()
	buf := make([]byte, 64)
	begun := time.Now()
	for range n {
		if _, err := c.Write(buf); err != nil {
			return 0, err
		}
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := c.Read(buf); err != nil {
			return 0, fmt.Errorf("no answer: %w", err)
		}
	}
	return float64(time.Since(begun).Microseconds()) / float64(n), nil
}
