package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/cluster/transport"
	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/hostagent"
	"github.com/rexcarcer/rexcarcer/pki"
	"github.com/rexcarcer/rexcarcer/zfssync"
	"github.com/rexcarcer/rexcarcer/zfssync/transfer"
)

// syncing moves images and volumes between this host and the others.
type syncing struct {
	client *transfer.Client
	server *transfer.Server
	trip   *http.Transport // to members by their id
	mover  *carrier        // of volumes that move here
	board  *transfer.Board // streams that run, either way
}

// openSync prepares what serveSync and fetch use. Without a cluster port
// there is nobody to exchange anything with, and what is simulated has
// nothing in it.
func (d *daemon) openSync(store zfssync.Store) error {
	if d.peers == nil || d.o.Runtime == "sim" {
		return nil
	}
	metrics, board := transfer.NewMetrics(d.reg), transfer.NewBoard()
	conf := transfer.Config{
		Store: store, Metrics: metrics, Log: d.log, BytesPerSecond: d.o.SyncRate, Progress: d.tellSync, Board: board,
		Work: filepath.Join(d.o.DataDir, "fetching"), Delta: d.o.SyncMode != "whole",
	}
	if d.o.SyncMode == "spool" {
		conf.Spool = filepath.Join(d.o.DataDir, "fetching", "spool")
	}
	client, err := transfer.NewClient(conf)
	if err != nil {
		return err
	}
	if _, err := client.SweepSpool(time.Now().Add(-spoolLife)); err != nil {
		return err
	}
	trip := d.peers.dialer.RoundTripper(transport.Sync, d.addrOf)
	trip.ReadBufferSize, trip.ResponseHeaderTimeout = 64<<10, 30*time.Second
	d.sync = &syncing{
		client: client, trip: trip, board: board,
		server: transfer.NewServer(transfer.ServerConfig{
			Store: store, Metrics: metrics, Log: d.log, BytesPerSecond: d.o.SyncRate, Allow: d.allowSync, Peer: d.syncPeer, Board: board,
		}),
	}
	d.sync.mover, err = d.newCarrier(store, metrics)
	return err
}

// spoolLife is how long half a stream waits for a daemon that wants the rest.
const spoolLife = 7 * 24 * time.Hour

// syncPeer names a member.
func (d *daemon) syncPeer(state *tls.ConnectionState) string {
	id, err := pki.PeerID(*state)
	if err != nil {
		return "" // allowSync has seen it
	}
	if h, ok := d.node.State().Hosts.Get(id.Name); ok {
		return h.Name
	}
	return id.Name
}

// allowSync lets members in, as the port does already: two doors that must
// both be wrong.
func (d *daemon) allowSync(state *tls.ConnectionState) error {
	id, err := pki.PeerID(*state)
	if err != nil {
		return err
	}
	if id.Cluster != d.m.cluster || !slices.Contains(transport.Members(), id.Role) {
		return fmt.Errorf("%s is no member", id)
	}
	return d.denied(id)
}

// serveSync answers members that want what this host has.
func (d *daemon) serveSync(ctx context.Context) error {
	if d.sync == nil {
		return nil
	}
	defer d.sync.trip.CloseIdleConnections()
	defer d.sync.mover.trip.CloseIdleConnections()
	return transfer.Serve(ctx, d.peers.mux.Listener(transport.Sync), d.sync.server)
}

// fetch brings an image from the hosts that have it, by what the log says; the
// others are asked last, since a host may have it and not have said so yet.
func (d *daemon) fetch(ctx context.Context, key string) (hostagent.Fetched, error) {
	sources := d.sources(key)
	if len(sources) == 0 {
		return hostagent.Fetched{}, errors.New("no other host is there")
	}
	got, err := d.sync.client.FetchImage(ctx, key, sources)
	out := hostagent.Fetched{Bytes: got.Bytes, From: got.From}
	if err != nil {
		return out, err
	}
	d.log.Info("image fetched from other hosts", "image", key, "bytes", got.Bytes, "from", strings.Join(got.From, ","), "took", got.Took.Round(time.Millisecond))
	return out, nil
}

func (d *daemon) sources(key string) (out []transfer.Source) {
	s := d.node.State()
	var holders []fsm.HostID
	if b, ok := s.Builds.Get(key); ok {
		holders = b.Hosts
	}
	self, _ := s.Hosts.Get(string(d.node.ID()))
	for _, holds := range []bool{true, false} {
		for _, h := range s.Hosts.All {
			if self != nil && (h.OS != self.OS || h.Arch != self.Arch) {
				continue // its programs do not run here
			}
			if h.ID == d.node.ID() || h.State == fsm.HostLost || slices.Contains(holders, h.ID) != holds {
				continue
			}
			out = append(out, transfer.Source{Name: h.Name, Host: string(h.ID), HTTP: d.sync.trip, Doubtful: !holds})
		}
	}
	return out
}

// tellSync writes how far a transfer is; the client calls it twice a second.
func (d *daemon) tellSync(p transfer.Progress) {
	d.log.Debug("transfer", "object", p.Object.String(), "from", p.Source, "bytes", p.Bytes, "of", p.Total,
		"bytes_per_second", int64(p.Rate), "left", p.Left.Round(time.Second), "done", p.Done)
}

// Transfers are the streams between this host and others that run now.
func (h apiHost) Transfers() []api.TransferRow {
	if h.d.sync == nil {
		return nil
	}
	var rows []api.TransferRow
	for _, t := range h.d.sync.board.Running() {
		direction := "in"
		if t.Sending {
			direction = "out"
		}
		rows = append(rows, api.TransferRow{
			Direction: direction, Object: t.Object.String(), Snapshot: t.Snapshot, Peer: t.Source, Bytes: t.Bytes, Total: t.Total,
			Rate: int64(t.Rate), LeftMs: t.Left.Milliseconds(), Since: t.Since,
		})
	}
	return rows
}
