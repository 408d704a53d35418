package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"

	"github.com/rexcarcer/rexcarcer/cluster/transport"
	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/hostagent"
	"github.com/rexcarcer/rexcarcer/zfssync"
	"github.com/rexcarcer/rexcarcer/zfssync/transfer"
)

// carrier brings volumes of other hosts here; see hostagent.Carrier.
type carrier struct {
	d      *daemon
	store  zfssync.Store
	client *transfer.Client // fetches of a tree the chunks that are new
	over   *transfer.Client // fetches what the source knows to be new
	trip   *http.Transport  // its answers may take as long as copying a volume takes

	mu    sync.Mutex
	bytes map[zfssync.Object]int64 // guarded by mu; that came over the line
}

func (d *daemon) newCarrier(store zfssync.Store, metrics *transfer.Metrics) (*carrier, error) {
	c := &carrier{d: d, store: store, bytes: map[zfssync.Object]int64{}, trip: d.peers.dialer.RoundTripper(transport.Sync, d.addrOf)}
	c.trip.ReadBufferSize = 64 << 10
	conf := transfer.Config{
		Store: store, Metrics: metrics, Log: d.log, BytesPerSecond: d.o.SyncRate, Progress: c.count, Board: d.sync.board,
		Work: filepath.Join(d.o.DataDir, "moving"),
	}
	var err error
	if c.over, err = transfer.NewClient(conf); err != nil {
		return nil, err
	}
	conf.Delta = true
	c.client, err = transfer.NewClient(conf)
	return c, err
}

// count adds up what came, stream by stream.
func (c *carrier) count(p transfer.Progress) {
	c.d.tellSync(p)
	if !p.Done {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bytes[p.Object] += p.Bytes
}

func (c *carrier) counted(o zfssync.Object) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.bytes[o]
	delete(c.bytes, o)
	return n
}

// Carry implements hostagent.Carrier. Older snapshots come first, each as the
// difference over the one before it where the storage knows differences.
func (c *carrier) Carry(ctx context.Context, from fsm.HostID, volume zfssync.VolumeID, snapshot string, quota int64) (int64, error) {
	src := transfer.Source{Name: c.d.hostName(from), Host: string(from), HTTP: c.trip}
	o := zfssync.Object{Kind: zfssync.KindVolume, Name: string(volume)}
	newest, err := src.TakeSnapshot(ctx, o, snapshot)
	if err != nil {
		return 0, fmt.Errorf("snapshot on host %s: %w", src.Name, err)
	}
	if want := c.store.Features().Format; newest.Format != want {
		return 0, fmt.Errorf("host %s stores it as %s, this host as %s, and neither reads the other's: %w", src.Name, newest.Format, want, hostagent.ErrHopeless)
	}
	list, err := src.Snapshots(ctx, o)
	if err != nil {
		return 0, fmt.Errorf("snapshots on host %s: %w", src.Name, err)
	}
	c.counted(o)
	for _, s := range list {
		client := c.client
		if s.Over != "" {
			client = c.over
		}
		_, err := client.EnsureObject(ctx, o, transfer.ObjectOptions{GUID: s.GUID, QuotaBytes: quota}, []transfer.Source{src})
		if conflict := (*transfer.Conflict)(nil); errors.As(err, &conflict) {
			return c.counted(o), fmt.Errorf("%w: %w", hostagent.ErrHopeless, err)
		}
		if err != nil {
			return c.counted(o), err
		}
		if s.GUID == newest.GUID {
			break
		}
	}
	return c.counted(o), nil
}
