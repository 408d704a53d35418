package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rexcarcer/rexcarcer/cluster"
	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

const (
	perWish  = 1000
	perGroup = 10   // replicas of a block
	tail     = 8000 // entries after the last snapshot, which a restart folds again
	writers  = 256
)

func wishName(w int) string   { return fmt.Sprintf("w%03d", w) }
func hostID(h int) fsm.HostID { return fsm.HostID(fmt.Sprintf("host%04d", h+1)) }
func jail(w, i int) fsm.JailName {
	return fsm.JailName(fmt.Sprintf("%s-g%02d-%d", wishName(w), i/perGroup, i%perGroup+1))
}

// wish declares 1,000 jails in blocks of ten.
func wish(w int) spec.Wish {
	name := wishName(w)
	out := spec.Wish{Name: name, Source: name + ".hcl",
		Networks: []spec.Network{{Name: name, Subnet: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(w / 32), byte(w % 32 * 8), 0}), 21)}},
		Images:   []spec.Image{{Name: name, Key: "sha256:" + strings.Repeat("1", 64), Base: "debian:bookworm"}}}
	for i := range perWish {
		group := fmt.Sprintf("%s-g%02d", name, i/perGroup)
		out.Jails = append(out.Jails, spec.Jail{Name: string(jail(w, i)), Group: group, Index: i%perGroup + 1, Replicas: perGroup, Image: name,
			NICs: []spec.NIC{{Network: name}}, Command: []string{"/usr/bin/serve", "--listen", "0.0.0.0:80"},
			Env:      []spec.EnvVar{{Name: "GENERATION", Value: "1"}},
			Services: []spec.Service{{Name: group, Port: 80}}, Limits: spec.Limits{MemoryBytes: 64 << 20, CPU: 0.1},
			Restart: spec.Restart{Policy: "always", Backoff: time.Second, MaxBackoff: time.Minute}, Update: spec.Update{MaxParallel: 1}, Stop: time.Second})
	}
	out.Normalize()
	return out
}

// fillLog writes the life of a cluster into dir: hosts, wishes, and every jail
// placed and healthy; a snapshot of it, and some more entries.
func fillLog(ctx context.Context, dir string, hosts, jails int) error {
	node, err := open(dir)
	if err != nil {
		return err
	}
	if err := fill(ctx, node, hosts, jails); err != nil {
		return errors.Join(err, node.Close())
	}
	index := fmt.Sprint(node.State().Index)
	return errors.Join(os.WriteFile(filepath.Join(dir, "index"), []byte(index), 0o600), node.Close())
}

func fill(ctx context.Context, node *cluster.Node, hosts, jails int) error {
	p := &proposer{ctx: ctx, node: node}
	p.one(fsm.Genesis{ClusterID: "bench-scale", Domain: "rex.internal", CA: "PEM"})
	for h := range hosts {
		p.all(fsm.RegisterHost{Host: fsm.Host{ID: hostID(h), Name: string(hostID(h)), Role: "server", OS: "linux", Arch: "amd64", Runtime: "sim",
			Version: "1", Labels: map[string]string{"rack": fmt.Sprintf("r%d", h%25)}, Capacity: fsm.Resources{MilliCPU: 64_000, MemoryBytes: 256 << 30}}})
	}
	p.wait()
	p.one(fsm.ReportBuild{Key: "sha256:" + strings.Repeat("1", 64), Host: hostID(0), Bytes: 1})
	for w := range jails / perWish {
		p.one(fsm.ApplyWish{Wish: wish(w)})
	}
	for step := range 2 {
		for w := range jails / perWish {
			for i := range perWish {
				p.all(life(jail(w, i), hostID((w*perWish+i)%hosts), step))
			}
		}
		p.wait()
	}
	if p.err == nil {
		p.err = node.Snapshot()
	}
	for i := range tail {
		n := i % jails
		c := life(jail(n/perWish, n%perWish), hostID(n%hosts), 1)
		c2 := c.(fsm.ReportRun)
		c2.Reason = fmt.Sprintf("check %d took 12 ms", i)
		p.all(c2)
	}
	p.wait()
	return p.err
}

// life is what happens to a jail: it is placed, then healthy.
func life(j fsm.JailName, h fsm.HostID, step int) fsm.Command {
	if step == 0 {
		return fsm.PlaceJail{Jail: j, Host: h, Seq: 1, Why: "spread +0.40 load +0.35 image +0.05"}
	}
	return fsm.ReportRun{Jail: j, Host: h, Seq: 1, Phase: fsm.Running, Health: fsm.HealthHealthy}
}

// proposer writes entries side by side, so that they share syncs of the disk.
type proposer struct {
	ctx  context.Context
	node *cluster.Node

	wg    sync.WaitGroup
	slots chan struct{}
	mu    sync.Mutex
	err   error // guarded by mu: the first
}

func (p *proposer) all(c fsm.Command) {
	if p.slots == nil {
		p.slots = make(chan struct{}, writers)
	}
	p.slots <- struct{}{}
	p.wg.Go(func() {
		p.one(c)
		<-p.slots
	})
}

func (p *proposer) wait() { p.wg.Wait() }

func (p *proposer) one(c fsm.Command) {
	_, err := p.node.Propose(p.ctx, "bench", c)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil && err != nil {
		p.err = fmt.Errorf("propose %s: %w", c.Kind(), err)
	}
}
