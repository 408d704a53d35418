package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rexcarcer/rexcarcer/cluster"
	"github.com/rexcarcer/rexcarcer/dhcpd"
	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

const (
	network = "bench"
	host    = fsm.HostID("h-bench")
)

// ballast is what the daemon has too: see the garbage collector's part of cmd/rexcarcer.
var ballast = make([]byte, 32<<20)

// serveOurs is a daemon's part for DHCP: a cluster of one with its log on disk.
func serveOurs(ctx context.Context, dir string, fill int) error {
	node, err := openNode(ctx, dir)
	if err != nil {
		return err
	}
	if err := fillLeases(ctx, node, fill); err != nil {
		return errors.Join(err, node.Close())
	}
	if fill > 0 {
		runtime.GC()
	}
	conn, err := dhcpd.Open(ctx, "lan")
	if err != nil {
		return errors.Join(err, node.Close())
	}
	if fill > 0 {
		go tellSamples(ctx, node)
	}
	s := dhcpd.NewServer(dhcpd.Config{
		Network: network, Host: host, Log: node, Device: "lan", Clock: time.Now,
		Metrics: dhcpd.NewMetrics(nil), Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	err = errors.Join(s.Run(ctx, conn), node.Close())
	runtime.KeepAlive(ballast)
	return err
}

// tellSamples writes what the process holds to its log, until ctx ends.
func tellSamples(ctx context.Context, node *cluster.Node) {
	for ctx.Err() == nil {
		time.Sleep(sampleEach)
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		fmt.Fprintf(os.Stderr, "sample %d %f %d\n", runtime.NumGoroutine(), float64(m.HeapAlloc-uint64(len(ballast)))/(1<<20), node.State().Guests.Len())
	}
}

func openNode(ctx context.Context, dir string) (*cluster.Node, error) {
	node, err := cluster.Open(cluster.Config{
		Dir: filepath.Join(dir, "data"), Log: slog.New(slog.DiscardHandler), Reg: prometheus.NewRegistry(),
		Fatal: func(err error) { fmt.Fprintln(os.Stderr, err); os.Exit(1) },
	})
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if self, _ := node.Leader(); self {
			break
		}
		if time.Now().After(deadline) {
			return nil, errors.Join(errors.New("no leadership within 10 s"), node.Close())
		}
	}
	first, last := netip.MustParseAddr(poolFirst), netip.MustParseAddr(poolLast)
	for _, cmd := range []fsm.Command{
		fsm.Genesis{ClusterID: "rc-bench", Domain: "rex.internal", CA: "PEM"},
		fsm.RegisterHost{Host: fsm.Host{ID: host, Name: "bench", Role: "server", State: fsm.HostAlive, OS: "linux", Arch: "amd64", Runtime: "sim", Version: "1", Level: fsm.Level}},
		fsm.ApplyWish{Wish: spec.Wish{Name: "bench", Networks: []spec.Network{{
			Name: network, Subnet: netip.MustParsePrefix(subnet), DHCP: &spec.DHCP{Ranges: []spec.AddrRange{{First: first, Last: last}}},
		}}}},
	} {
		if _, err := node.Propose(ctx, "bench", cmd); err != nil {
			return nil, errors.Join(err, node.Close())
		}
	}
	return node, nil
}

// fillLeases grants n leases, by entries as full as they get.
func fillLeases(ctx context.Context, node *cluster.Node, n int) error {
	a := netip.MustParseAddr(poolFirst)
	for n > 0 {
		c := fsm.LeaseGuests{Network: network, Host: host}
		for range min(n, 512) {
			mac := fmt.Sprintf("52:54:%02x:%02x:%02x:%02x", n>>24, n>>16&255, n>>8&255, n&255)
			c.Guests = append(c.Guests, fsm.GuestAsk{Addr: a, Client: mac, MAC: mac, Seconds: 3600})
			a = a.Next()
			n--
		}
		if _, err := node.Propose(ctx, "host/"+string(host), c); err != nil {
			return err
		}
	}
	return nil
}

// memory is what a server with n leases holds, in MiB.
func (w *wire) memory(ctx context.Context, n int) (float64, error) {
	x, err := w.start(ctx, ours, "-fill", fmt.Sprint(n))
	if err != nil {
		return 0, err
	}
	rss, err := rssOf(x.cmd.Process.Pid)
	return rss, errors.Join(err, x.stop())
}

// rssOf is the resident memory of a process in MiB.
func rssOf(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	var kib float64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		return 0, fmt.Errorf("VmRSS of %d: %w", pid, err)
	}
	return kib / 1024, nil
}
