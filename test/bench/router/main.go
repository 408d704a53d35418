//go:build linux

// Command router measures how long a network takes to be there: from the wish, whose entry is still to be committed, to the
// first answer of its router's DNS, which is a process in a namespace of its own behind a bridge, with its rules. It is
// run as root by `make bench BENCH=router`. There is no peer: none of those that share a host commits a wish first.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/miekg/dns"

	"github.com/rexcarcer/rexcarcer/spec"
	"github.com/rexcarcer/rexcarcer/test/bench/live"
	"github.com/rexcarcer/rexcarcer/test/bench/report"
)

// goal is the median, in ms.
const goal = 150

func main() {
	binary := flag.String("binary", "bin/rexcarcer", "the daemon")
	dir := flag.String("dir", "/var/tmp", "where its data goes: a disk")
	rounds := flag.Int("rounds", 20, "networks, one after the other; one more, not counted, warms up")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := bench(ctx, *binary, *dir, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "bench router:", err)
		os.Exit(1)
	}
}

func bench(ctx context.Context, binary, dir string, rounds int) (err error) {
	d, err := live.Start(ctx, binary, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Stop()) }()
	var up, down []float64
	for i := range rounds + 1 {
		u, g, err := once(ctx, d, i)
		if err != nil {
			return err
		}
		if i > 0 {
			up, down = append(up, u), append(down, g)
		}
	}
	rows := []report.Row{
		{Name: "router up (warm): wish to first DNS answer", Unit: "ms", Ours: up},
		{Name: "network gone: wish to no bridge and no router", Unit: "ms", Ours: down},
	}
	if err := report.Write("router", rows); err != nil {
		return err
	}
	if m := report.Median(up); m > goal {
		return fmt.Errorf("median %.0f ms, the goal is %d ms", m, goal)
	}
	return nil
}

// once makes a network and takes it down again; both times in ms.
func once(ctx context.Context, d *live.Daemon, i int) (up, down float64, err error) {
	name := fmt.Sprintf("bench-%d", i)
	n := spec.Network{Name: name, NAT: true, Subnet: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 173, byte(i), 0}), 24)}
	w := &spec.Wish{Name: name, Networks: []spec.Network{n}}
	w.Normalize()
	begun := time.Now()
	made, err := d.Client.ApplyWish(ctx, w, 0)
	if err == nil { // who asks before would wait a second for the kernel to look for the gateway again
		err = d.Client.Settled(ctx, made.Index, 30*time.Second)
	}
	if err != nil {
		return 0, 0, err
	}
	if err := answers(ctx, netip.AddrPortFrom(n.Gateway(), 53).String()); err != nil {
		return 0, 0, fmt.Errorf("network %s: %w", name, err)
	}
	up = ms(begun)
	begun = time.Now()
	done, err := d.Client.DestroyWish(ctx, name, 0)
	if err == nil {
		err = d.Client.Settled(ctx, done.Index, 30*time.Second)
	}
	return up, ms(begun), err
}

// answers returns at the first answer of the router: others may answer for an address that is not here yet.
func answers(ctx context.Context, server string) error {
	m := new(dns.Msg)
	m.SetQuestion("rex.internal.", dns.TypeSOA)
	c := &dns.Client{Timeout: 5 * time.Millisecond}
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline) && ctx.Err() == nil; time.Sleep(time.Millisecond) {
		if r, _, err := c.ExchangeContext(ctx, m, server); err == nil && r.Authoritative {
			return nil
		}
	}
	return errors.Join(errors.New("its router does not answer within 30 s"), ctx.Err())
}

func ms(since time.Time) float64 { return float64(time.Since(since)) / 1e6 }
