package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rexcarcer/rexcarcer/cluster"
	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

const (
	jails = 256
	host  = fsm.HostID("h-bench")
)

// ours is a group of one with as many running jails as there are clients.
type ours struct {
	node  *cluster.Node
	fatal atomic.Pointer[error]
}

// ballast is what the daemon has too: see the garbage collector's part of cmd/rexcarcer.
var ballast = make([]byte, 32<<20)

func openOurs(ctx context.Context, dir string) (*ours, error) {
	o := &ours{}
	var err error
	o.node, err = cluster.Open(cluster.Config{Dir: filepath.Join(dir, "ours"), Log: slog.New(slog.DiscardHandler),
		Reg: prometheus.NewRegistry(), Fatal: func(err error) { o.fatal.Store(&err) }})
	if err != nil {
		return nil, err
	}
	if err := o.fill(ctx); err != nil {
		return nil, errors.Join(err, o.close())
	}
	return o, nil
}

func (o *ours) close() error {
	runtime.KeepAlive(ballast)
	return o.node.Close()
}

func (o *ours) fill(ctx context.Context) error {
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if self, _ := o.node.Leader(); self {
			break
		}
		if time.Now().After(deadline) {
			return errors.New("no leadership within 10 s")
		}
	}
	wish := spec.Wish{Name: "bench", Networks: []spec.Network{{Name: "net", Subnet: netip.MustParsePrefix("10.64.0.0/16")}}}
	cmds := []fsm.Command{
		fsm.Genesis{ClusterID: "rc-bench", Domain: "rex.internal", CA: "PEM"},
		fsm.RegisterHost{Host: fsm.Host{ID: host, Name: "bench", Role: "server", State: fsm.HostAlive, OS: "linux", Arch: "amd64", Runtime: "sim", Version: "1"}},
	}
	for i := range jails {
		wish.Jails = append(wish.Jails, spec.Jail{Name: jailName(i), Group: jailName(i), Replicas: 1, Image: "base", NICs: []spec.NIC{{Network: "net"}},
			Restart: spec.Restart{Policy: "always", Backoff: time.Second, MaxBackoff: time.Minute}, Update: spec.Update{MaxParallel: 1}, Stop: time.Second})
	}
	wish.Images = []spec.Image{{Name: "base", Key: "sha256:" + strings.Repeat("0", 64), Base: "scratch"}}
	cmds = append(cmds, fsm.ApplyWish{Wish: wish})
	for i := range jails {
		cmds = append(cmds, fsm.PlaceJail{Jail: fsm.JailName(jailName(i)), Host: host, Seq: 1, Why: "bench"})
	}
	for _, c := range cmds {
		if _, err := o.node.Propose(ctx, "bench", c); err != nil {
			return err
		}
	}
	return nil
}

func jailName(i int) string { return fmt.Sprintf("jail-%d", i) }

// measure lets clients propose for length, each as soon as its last is acknowledged.
func (o *ours) measure(ctx context.Context, clients, size int, length time.Duration) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	var done atomic.Int64
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	begun := time.Now()
	for i := range clients {
		wg.Go(func() {
			n, err := o.client(ctx, i, size)
			done.Add(n)
			if err != nil {
				failed.Store(&err)
			}
		})
	}
	wg.Wait()
	took := time.Since(begun)
	for _, err := range []*error{failed.Load(), o.fatal.Load()} {
		if err != nil {
			return 0, *err
		}
	}
	return float64(done.Load()) / took.Seconds(), nil
}

// client reports on one jail again and again; each report changes its reason.
func (o *ours) client(ctx context.Context, i, size int) (n int64, err error) {
	report := fsm.ReportRun{Jail: fsm.JailName(jailName(i)), Host: host, Seq: 1, Phase: fsm.Running, Health: fsm.HealthHealthy}
	plain, err := fsm.Encode(fsm.Entry{V: fsm.Version, ID: strings.Repeat("0", 26), At: fsm.TimeOf(time.Now()), By: "bench", Cmd: report})
	if err != nil {
		return 0, err
	}
	pad := strings.Repeat("x", max(size-len(plain)-len(`,"reason":""`)-16, 0))
	for ctx.Err() == nil {
		report.Reason = fmt.Sprintf("%016d%s", n, pad)
		if _, err := o.node.Propose(ctx, "bench", report); err != nil {
			if ctx.Err() != nil {
				return n, nil
			}
			return n, err
		}
		n++
	}
	return n, nil
}
