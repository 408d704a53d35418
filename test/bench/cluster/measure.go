package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/spec"
	"github.com/rexcarcer/rexcarcer/test/bench/report"
)

const (
	failoverName = "new leader after kill -9: a write is acknowledged"
	dnsName      = "a new name, from the proposal to the answer of all three hosts' DNS"
)

func writesName(clients int) string {
	return fmt.Sprintf("writes through the API, three servers, %d clients", clients)
}

// beside measures writes of both by turns.
func beside(ctx context.Context, t *trio, dir string, o options) (rows []report.Row, err error) {
	peer, err := startEtcd(ctx, dir, o.loader)
	if err != nil {
		return nil, err
	}
	defer peer.stop()
	for _, clients := range o.clients {
		row := report.Row{Name: writesName(clients), Unit: "writes/s", PeerName: "etcd", HigherIsBetter: true}
		cost := report.Row{Name: fmt.Sprintf("processor time of the three servers, %d clients", clients), Unit: "us/write", PeerName: "etcd"}
		for range o.rounds {
			rate, each, err := costing(t.processes(), o, func() (float64, error) { return t.writes(ctx, clients, o) })
			if err != nil {
				return nil, err
			}
			row.Ours, cost.Ours = append(row.Ours, rate), append(cost.Ours, each)
			rate, each, err = costing(peer.members, o, func() (float64, error) { return peer.writes(ctx, clients, o) })
			if err != nil {
				return nil, err
			}
			row.Peer, cost.Peer = append(row.Peer, rate), append(cost.Peer, each)
		}
		rows = append(rows, row, cost)
	}
	return rows, nil
}

// costing is the rate of writes, and what each cost all servers, in microseconds of processor time.
func costing(servers []*exec.Cmd, o options, writes func() (float64, error)) (rate, each float64, err error) {
	before, err := cpu(servers...)
	if err != nil {
		return 0, 0, err
	}
	if rate, err = writes(); err != nil {
		return 0, 0, err
	}
	after, err := cpu(servers...)
	return rate, float64((after - before).Microseconds()) / (rate * o.length.Seconds()), err
}

// perHost is how many labels of each host are written: what is written is small, as in etcd, and all labels of a host are in its every event.
const perHost = 1

// writes lets clients write at the leader for o.length, each as soon as its last is acknowledged.
func (t *trio) writes(ctx context.Context, clients int, o options) (float64, error) {
	leads, _, err := t.leader(ctx)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, o.length)
	defer cancel()
	var done atomic.Int64
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	pad := strings.Repeat("x", max(o.bytes-20, 0))
	begun := time.Now()
	for i := range clients {
		wg.Go(func() {
			c, err := api.NewClient(api.Options{Addr: leads.addr()})
			if err != nil {
				failed.Store(&err)
				return
			}
			defer c.Close()
			at, label := t.hosts[i%len(t.hosts)].name, fmt.Sprintf("bench%d", i/len(t.hosts)%perHost)
			for n := 0; ctx.Err() == nil; n++ {
				_, err := c.LabelHost(ctx, at, api.HostLabels{Set: map[string]string{label: fmt.Sprintf("%06d-%012d%s", i, n, pad)}})
				switch {
				case err == nil:
					done.Add(1)
				case ctx.Err() == nil:
					failed.Store(&err)
					return
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(begun)
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return float64(done.Load()) / took.Seconds(), nil
}

// failover kills the leader again and again.
func failover(ctx context.Context, t *trio, o options) (report.Row, error) {
	row := report.Row{Name: failoverName, Unit: "s"}
	for range o.kills {
		leads, rest, err := t.leader(ctx)
		if err != nil {
			return row, err
		}
		leads.kill()
		begun := time.Now()
		err = wait(ctx, "a write is acknowledged", func() error {
			_, err := rest[0].client.LabelHost(ctx, rest[0].name, api.HostLabels{Set: map[string]string{"bench": strconv.FormatInt(time.Now().UnixNano(), 10)}})
			return err
		})
		if err != nil {
			return row, err
		}
		row.Ours = append(row.Ours, time.Since(begun).Seconds())
		if err := errors.Join(leads.start(ctx), t.well(ctx)); err != nil {
			return row, err
		}
	}
	return row, nil
}

// names declares one jail after the other and asks all three for each.
func names(ctx context.Context, t *trio, o options) ([]report.Row, error) {
	all := report.Row{Name: dnsName, Unit: "ms"}
	w, err := wish(0)
	if err == nil {
		_, err = t.hosts[0].client.Build(ctx, api.BuildRequest{Image: w.Images[0]}, true, nil)
	}
	if err != nil {
		return nil, err
	}
	for n := range o.names {
		if w, err = wish(n + 1); err != nil {
			return nil, err
		}
		done, err := t.hosts[n%len(t.hosts)].client.ApplyWish(ctx, w, 0)
		if err != nil {
			return nil, err
		}
		if len(done.Events) == 0 {
			return nil, errors.New("a wish with one jail more changed nothing")
		}
		name := fmt.Sprintf("web-%d.bench.rex.internal.", n+1)
		var wg sync.WaitGroup
		failed := make([]error, len(t.hosts))
		for i, h := range t.hosts {
			wg.Go(func() {
				failed[i] = wait(ctx, h.name+" knows "+name, func() error { return known(ctx, h.dns, name) })
			})
		}
		wg.Wait()
		if err := errors.Join(failed...); err != nil {
			return nil, err
		}
		all.Ours = append(all.Ours, float64(time.Since(done.Events[0].Time))/float64(time.Millisecond))
	}
	return []report.Row{all}, nil
}

func known(ctx context.Context, port int, name string) error {
	m := new(dns.Msg)
	m.SetQuestion(name, dns.TypeA)
	answer, err := dns.ExchangeContext(ctx, m, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err == nil && len(answer.Answer) == 0 {
		err = errors.New("no such name")
	}
	return err
}

// wish declares n jails.
func wish(n int) (*spec.Wish, error) {
	text := "cluster \"bench\" {}\nnetwork \"bench\" {\n  subnet = \"10.79.0.0/16\"\n}\nimage \"base\" {\n  base = \"host:/\"\n}\n"
	if n > 0 {
		text += fmt.Sprintf("jail \"web\" {\n  count   = %d\n  image   = \"base\"\n  network = \"bench\"\n  command = [\"serve\"]\n}\n", n)
	}
	w, diags := spec.Parse("bench.hcl", []byte(text), spec.Inputs{Networks: []spec.KnownNetwork{{Name: "bench", Subnet: netip.MustParsePrefix("10.79.0.0/16"), Wish: "bench"}}})
	if w == nil {
		return nil, fmt.Errorf("the bench's own file: %v", diags)
	}
	return w, nil
}
