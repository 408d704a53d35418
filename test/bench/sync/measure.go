//go:build linux

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/rexcarcer/rexcarcer/test/bench/report"
)

// measure collects what the rounds of one storage give.
type measure struct {
	c                         config
	whole, sync, share        report.Row
	ssh                       report.Row // beside what people use between two hosts
	sending, receiving, again report.Row
}

func newMeasure(c config, storage, peer string) *measure {
	row := func(name, unit, peer string) report.Row {
		return report.Row{Name: storage + ": " + name, Unit: unit, PeerName: peer, HigherIsBetter: peer != ""}
	}
	return &measure{
		c:         c,
		whole:     row(fmt.Sprintf("a tree of %d MiB", c.mib), "MiB/s", peer),
		sync:      row("the same tree", "MiB/s", "rsync -a"),
		ssh:       row("between two hosts", "MiB/s", "rsync -a over ssh"),
		share:     row("second version, 1 % new", "% of bytes", ""),
		again:     row("second version, time", "s", ""),
		sending:   row("memory of the sender", "MiB", ""),
		receiving: row("memory of the receiver", "MiB", ""),
	}
}

func (m *measure) rate(took time.Duration) float64 { return float64(m.c.mib) / took.Seconds() }

// ours measures one whole transfer into an empty store, and then empties it.
func (m *measure) ours(ctx context.Context, o order, empty func() error) error {
	end := m.c.note("ours")
	r, mib, err := receiveOnce(ctx, o)
	if err != nil {
		return err
	}
	end(time.Duration(r.Seconds * float64(time.Second)))
	rate := m.rate(time.Duration(r.Seconds * float64(time.Second)))
	for _, r := range []*report.Row{&m.whole, &m.sync, &m.ssh} {
		r.Ours = append(r.Ours, rate)
	}
	m.receiving.Ours = append(m.receiving.Ours, mib)
	return empty()
}

func (m *measure) pipe(took time.Duration, err error) error {
	if err == nil {
		m.whole.Peer = append(m.whole.Peer, m.rate(took))
	}
	return err
}

func (m *measure) rsync(took time.Duration, err error) error {
	if err == nil {
		m.sync.Peer = append(m.sync.Peer, m.rate(took))
	}
	return err
}

func (m *measure) remote(took time.Duration, err error) error {
	if err == nil {
		m.ssh.Peer = append(m.ssh.Peer, m.rate(took))
	}
	return err
}

// second measures the transfer of a version of which most is there.
func (m *measure) second(ctx context.Context, o order) error {
	r, mib, err := receiveOnce(ctx, o)
	if err != nil {
		return err
	}
	m.share.Ours = append(m.share.Ours, 100*float64(r.Bytes)/float64(m.c.mib<<20))
	m.again.Ours = append(m.again.Ours, r.Seconds)
	m.receiving.Ours = append(m.receiving.Ours, mib)
	return nil
}

// server ends the side that serves and notes its memory.
func (m *measure) server(s *server) error {
	mib, err := s.stop()
	m.sending.Ours = append(m.sending.Ours, mib)
	return err
}

func (m *measure) rows() []report.Row {
	return []report.Row{m.whole, m.sync, m.ssh, m.share, m.again, m.sending, m.receiving}
}
