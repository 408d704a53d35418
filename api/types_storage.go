package api

import (
	"context"
	"time"
)

// Storage is what a host's storage can be asked; see Host.
type Storage interface {
	// CollectImages removes images and layers that nobody needs.
	CollectImages(ctx context.Context, r GCRequest) (GCResult, error)
	// Transfers are the streams between this host and others that run now.
	Transfers() []TransferRow

	// Volumes lists the host's volumes, without their snapshots.
	Volumes(ctx context.Context) ([]VolumeShow, error)
	// Volume shows one with its snapshots.
	Volume(ctx context.Context, name string) (VolumeShow, error)
	// SnapshotVolume makes a snapshot; the one of that name is returned as it is.
	SnapshotVolume(ctx context.Context, name, snapshot string) (VolumeSnapshot, error)
	// DropVolumeSnapshot removes one.
	DropVolumeSnapshot(ctx context.Context, name, snapshot string) error
	// RollbackVolume makes the volume what it was; no jail may have it.
	RollbackVolume(ctx context.Context, name string, r RollbackRequest) error
	// RemoveVolume removes it with its snapshots; no jail may have it.
	RemoveVolume(ctx context.Context, name string) error
}

// GCRequest says what an image gc may remove.
type GCRequest struct {
	DryRun     bool `json:"dry_run,omitempty"`     // only say what would go
	KeepNewest int  `json:"keep_newest,omitempty"` // unneeded images that stay, 0..100000
	Bases      bool `json:"bases,omitempty"`       // also base layers that nothing stands on
}

// GCResult is what an image gc removed, or would remove.
type GCResult struct {
	DryRun  bool      `json:"dry_run"`
	Bytes   int64     `json:"bytes"` // on disk
	Removed []Garbage `json:"removed"`
	Busy    bool      `json:"busy"` // a build under way kept layers that nobody needs
}

// Garbage is one thing that an image gc removed.
type Garbage struct {
	Kind  string `json:"kind"` // image, layer, base
	Key   string `json:"key"`
	Name  string `json:"name,omitempty"` // of the image, or what the base was made from
	Bytes int64  `json:"bytes"`
	Host  string `json:"host,omitempty"` // set by rexctl, where it has asked several
}

// VolumeRow is one volume of a host.
type VolumeRow struct {
	Name       string `json:"name"` // WISH.JAIL.VOLUME
	Wish       string `json:"wish"`
	Jail       string `json:"jail"`
	Volume     string `json:"volume"`
	Path       string `json:"path,omitempty"` // in the jail; "" for an orphan
	State      string `json:"state"`          // used (a jail has it now), idle, orphan (no wish declares it)
	QuotaBytes int64  `json:"quota_bytes"`    // 0: none
	QuotaKept  bool   `json:"quota_kept"`     // the host's storage enforces it
	Bytes      int64  `json:"bytes"`          // on disk, without snapshots; -1: too large to be counted in time
	Snapshots  int    `json:"snapshots"`
	Host       string `json:"host"`
}

// VolumeShow is one volume with its snapshots, oldest first.
type VolumeShow struct {
	VolumeRow
	Snapshot []VolumeSnapshot `json:"snapshot_list"`
}

// VolumeSnapshot is one snapshot of a volume.
type VolumeSnapshot struct {
	Name      string    `json:"name"`
	CreatedAt time.Time `json:"created_at"`
	Bytes     int64     `json:"bytes"`            // that it refers to; 0 when unknown
	Steady    bool      `json:"steady,omitempty"` // when just made: it shows one moment, nothing was written meanwhile
}

// RollbackRequest says to what a volume goes back.
type RollbackRequest struct {
	Snapshot  string `json:"snapshot"`
	DropLater bool   `json:"drop_later,omitempty"` // destroy the snapshots that are newer
}
