package main

import (
	"context"
	"errors"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/hostagent"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

func (h apiHost) CollectImages(ctx context.Context, r api.GCRequest) (api.GCResult, error) {
	gone, busy, err := h.d.agent.CollectImages(ctx, hostagent.GC{DryRun: r.DryRun, KeepNewest: r.KeepNewest, Bases: r.Bases})
	out := api.GCResult{DryRun: r.DryRun, Busy: busy}
	for _, g := range gone {
		out.Bytes += g.Bytes
		out.Removed = append(out.Removed, api.Garbage{Kind: g.Kind, Key: g.Key, Name: g.Name, Bytes: g.Bytes})
	}
	return out, err
}

// volumeError says in the API's words why a volume could not be changed.
func volumeError(name string, err error) error {
	object := "volume " + name
	switch {
	case errors.Is(err, zfssync.ErrNotFound):
		return &api.Error{Code: "not_found", Object: object, Message: err.Error(), Hint: "rexctl volume show " + name + ", or rexctl volume ls"}
	case errors.Is(err, zfssync.ErrInUse):
		return &api.Error{Code: "failed", Object: object, Message: err.Error(), Hint: "stop the jail first: rexctl jail stop"}
	case errors.Is(err, zfssync.ErrLaterSnapshots):
		return &api.Error{Code: "failed", Object: object, Message: err.Error(), Hint: "--drop-later, which destroys them"}
	case errors.Is(err, zfssync.ErrNoSpace):
		return &api.Error{Code: "exhausted", Object: object, Message: err.Error(), Hint: "rexctl image gc, or remove snapshots"}
	}
	return err
}

// Volumes lists the volumes of this host.
func (h apiHost) Volumes(ctx context.Context) ([]api.VolumeShow, error) {
	list, err := h.d.agent.Volumes(ctx)
	if err != nil {
		return nil, err
	}
	var out []api.VolumeShow
	for _, v := range list {
		out = append(out, h.volume(v))
	}
	return out, nil
}

func (h apiHost) Volume(ctx context.Context, name string) (api.VolumeShow, error) {
	v, err := h.d.agent.Volume(ctx, zfssync.VolumeID(name))
	return h.volume(v), volumeError(name, err)
}

func (h apiHost) volume(v hostagent.Volume) api.VolumeShow {
	out := api.VolumeShow{VolumeRow: api.VolumeRow{
		Name: string(v.ID), Wish: v.Wish, Jail: v.Jail, Volume: v.Name, Path: v.Path, State: "idle",
		QuotaBytes: v.QuotaBytes, QuotaKept: v.QuotaKept, Bytes: v.Bytes, Snapshots: len(v.Snapshots), Host: h.d.o.Name,
	}}
	switch {
	case v.InUse:
		out.State = "used"
	case !v.Declared:
		out.State = "orphan"
	}
	for _, s := range v.Snapshots {
		out.Snapshot = append(out.Snapshot, api.VolumeSnapshot{Name: s.Name, CreatedAt: s.CreatedAt, Bytes: s.Bytes})
	}
	return out
}

func (h apiHost) SnapshotVolume(ctx context.Context, name, snapshot string) (api.VolumeSnapshot, error) {
	s, steady, err := h.d.agent.SnapshotVolume(ctx, zfssync.VolumeID(name), snapshot)
	return api.VolumeSnapshot{Name: s.Name, CreatedAt: s.CreatedAt, Bytes: s.Bytes, Steady: steady}, volumeError(name, err)
}

func (h apiHost) DropVolumeSnapshot(ctx context.Context, name, snapshot string) error {
	return volumeError(name, h.d.agent.DropVolumeSnapshot(ctx, zfssync.VolumeID(name), snapshot))
}

func (h apiHost) RollbackVolume(ctx context.Context, name string, r api.RollbackRequest) error {
	return volumeError(name, h.d.agent.RollbackVolume(ctx, zfssync.VolumeID(name), r.Snapshot, r.DropLater))
}

func (h apiHost) RemoveVolume(ctx context.Context, name string) error {
	return volumeError(name, h.d.agent.RemoveVolume(ctx, zfssync.VolumeID(name)))
}
