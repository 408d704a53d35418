package zfssync

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// A snapshot of a volume or jail is a copy of its directory: snaps/<name>/{data,snapshot.json} beside it. Where the file
// system shares blocks between files (btrfs, xfs), the copy costs none.

// snapRecord is snapshot.json.
type snapRecord struct {
	GUID      string    `json:"guid"`
	Seq       int64     `json:"seq"` // orders them: clocks go back
	Bytes     int64     `json:"bytes"`
	CreatedAt time.Time `json:"created_at"`

	BegunAt time.Time `json:"begun_at,omitzero"` // before the first file was copied; of those that travel
	Over    string    `json:"over,omitempty"`    // GUID of the snapshot that it shares files with, see over_linux.go
}

func (l layout) objectDir(obj Object) string {
	if obj.Kind == KindJail {
		return l.jail(obj.Name)
	}
	return l.volume(VolumeID(obj.Name))
}

func (l layout) snaps(obj Object) string { return filepath.Join(l.objectDir(obj), "snaps") }

func (l layout) snap(obj Object, name string) string { return filepath.Join(l.snaps(obj), name) }

// liveDir is what a snapshot is taken of.
func (l layout) liveDir(obj Object) string {
	if obj.Kind == KindJail {
		return l.upper(obj.Name)
	}
	if id := VolumeID(obj.Name); l.hasDisk(id) {
		return filepath.Join(l.mnt(id), "data")
	}
	return filepath.Join(l.objectDir(obj), "data")
}

type namedSnap struct {
	name string
	snapRecord
}

// readSnaps lists the snapshots of a volume or jail, oldest first.
func (l layout) readSnaps(obj Object) ([]namedSnap, error) {
	entries, err := os.ReadDir(l.snaps(obj))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var out []namedSnap
	for _, e := range entries {
		s := namedSnap{name: e.Name()}
		if err := readJSON(filepath.Join(l.snap(obj, s.name), "snapshot.json"), &s.snapRecord); err != nil {
			return nil, fmt.Errorf("snapshot %s of %s: %w", s.name, obj, err)
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b namedSnap) int {
		return cmp.Or(cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.name, b.name))
	})
	return out, nil
}

// Snapshots implements Streams.
func (o *Overlay) Snapshots(ctx context.Context, obj Object) ([]Snapshot, error) {
	if err := errors.Join(obj.check(), ctx.Err()); err != nil {
		return nil, err
	}
	if obj.Kind == KindLayer {
		m, err := o.readLayer(obj.Name)
		if errors.Is(err, ErrNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		s := Snapshot{Object: obj, Name: LayerSnapshot, GUID: m.Key, CreatedAt: m.CreatedAt, Bytes: m.Bytes, Format: FormatTar, Base: m.Base}
		if len(m.Chain) > 0 {
			s.Origin, s.Layer = m.Chain[0], m.Chain[0]
		}
		return []Snapshot{s}, nil
	}
	list, err := o.readSnaps(obj)
	if err != nil {
		return nil, fmt.Errorf("list snapshots of %s: %w", obj, err)
	}
	var rec cloneRecord
	if obj.Kind == KindJail && len(list) > 0 {
		if err := readJSON(filepath.Join(o.jail(obj.Name), "clone.json"), &rec); err != nil {
			return nil, fmt.Errorf("list snapshots of %s: %w", obj, err)
		}
	}
	out := make([]Snapshot, 0, len(list))
	for i, s := range list {
		if i == 0 || list[i-1].GUID != s.Over {
			s.Over = "" // what it stood on is gone
		}
		out = append(out, Snapshot{
			Object: obj, Name: s.name, GUID: s.GUID, CreatedAt: s.CreatedAt, Bytes: s.Bytes, Format: FormatTar, Over: s.Over,
			Origin: rec.Top, Layer: rec.Top, Image: rec.ImageKey,
		})
	}
	return out, nil
}

// TakeSnapshot implements Streams.
func (o *Overlay) TakeSnapshot(ctx context.Context, obj Object, name string) (Snapshot, error) {
	if err := errors.Join(obj.check(), checkName("snapshot", name)); err != nil {
		return Snapshot{}, err
	}
	if obj.Kind == KindLayer {
		return Snapshot{}, fmt.Errorf("snapshot of %s: a layer has its only one", obj)
	}
	unlock, err := o.keys.lock(ctx, obj.lockName())
	if err != nil {
		return Snapshot{}, err
	}
	defer unlock()
	if err := o.takeSnapshot(ctx, obj, name); err != nil {
		return Snapshot{}, fmt.Errorf("take snapshot %s of %s: %w", name, obj, noSpace(err))
	}
	list, err := o.Snapshots(ctx, obj)
	if err != nil {
		return Snapshot{}, err
	}
	return snapshotOf(list, obj, name)
}

func (o *Overlay) takeSnapshot(ctx context.Context, obj Object, name string) error {
	list, err := o.readSnaps(obj)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(list, func(s namedSnap) bool { return s.name == name }) {
		return nil
	}
	if err := o.materialize(ctx, obj); err != nil {
		return err
	}
	if id := VolumeID(obj.Name); obj.Kind == KindVolume && o.hasDisk(id) {
		if err := mountDisk(o.disk(id), o.mnt(id)); err != nil {
			return err
		}
	}
	live := o.liveDir(obj)
	if _, err := os.Stat(live); errors.Is(err, os.ErrNotExist) {
		return ErrNotFound
	} else if err != nil {
		return err
	}
	return o.staged("snap-", func(dir string) error {
		data := filepath.Join(dir, "data")
		if err := os.Mkdir(data, 0o700); err != nil {
			return err
		}
		rec, err := o.copyLive(ctx, obj, name, live, dir, list)
		if err != nil {
			return err
		}
		return o.commitSnap(obj, name, dir, rec)
	})
}

// commitSnap gives the staged directory dir its record and its place. Without a GUID it gets a new one.
func (o *Overlay) commitSnap(obj Object, name, dir string, rec snapRecord) error {
	list, err := o.readSnaps(obj)
	if err != nil {
		return err
	}
	rec.Seq, rec.CreatedAt = 1, time.Now().UTC()
	if len(list) > 0 {
		rec.Seq = list[len(list)-1].Seq + 1
	}
	if rec.GUID == "" {
		var id [16]byte
		_, _ = rand.Read(id[:]) // never fails, see crypto/rand
		rec.GUID = hex.EncodeToString(id[:])
	}
	if rec.Bytes, err = diskUsage(filepath.Join(dir, "data")); err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(dir, "snapshot.json"), rec, false); err != nil {
		return err
	}
	if err := o.point("snapshot written"); err != nil {
		return err
	}
	if err := syncFS(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(o.snaps(obj), 0o700); err != nil {
		return err
	}
	if err := os.Rename(dir, o.snap(obj, name)); err != nil {
		return err
	}
	return syncDir(o.snaps(obj))
}

// staged calls do with a directory that is swept after a crash, and removed afterwards unless do renamed it away.
func (o *Overlay) staged(prefix string, do func(dir string) error) (err error) {
	o.mu.Lock()
	dir, err := os.MkdirTemp(o.staging(), prefix)
	if err == nil {
		o.active[dir] = true
	}
	o.mu.Unlock()
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, os.RemoveAll(dir))
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.active, dir)
	}()
	return do(dir)
}

// DropSnapshot implements Streams.
func (o *Overlay) DropSnapshot(ctx context.Context, obj Object, name string) error {
	if err := errors.Join(obj.check(), checkName("snapshot", name)); err != nil {
		return err
	}
	if obj.Kind == KindLayer {
		return fmt.Errorf("drop snapshot of %s: it is the layer itself: %w", obj, ErrInUse)
	}
	unlock, err := o.keys.lock(ctx, obj.lockName())
	if err != nil {
		return err
	}
	defer unlock()
	if err := o.dropSnapshot(ctx, obj, name); err != nil {
		return fmt.Errorf("drop snapshot %s of %s: %w", name, obj, err)
	}
	return nil
}

func (o *Overlay) dropSnapshot(ctx context.Context, obj Object, name string) error {
	if o.heldSnaps.has(o.snap(obj, name)) {
		return fmt.Errorf("it is being sent or held: %w", ErrInUse)
	}
	// What was received and never used has no other copy: the snapshot becomes it.
	head, err := o.head(obj)
	if err != nil {
		return err
	}
	if head == name {
		shared, err := shares(filepath.Join(o.snap(obj, name), "data"))
		if err != nil {
			return err
		}
		disk, err := o.wantsDisk(obj)
		if err != nil {
			return err
		}
		if shared || disk { // what is written to must not show in other snapshots
			if err := o.materialize(ctx, obj); err != nil {
				return err
			}
			return o.discard(o.snap(obj, name))
		}
		if err := o.replaceLive(obj, filepath.Join(o.snap(obj, name), "data")); err != nil {
			return err
		}
		if err := o.point("head moved"); err != nil {
			return err
		}
		if err := o.setHead(obj, ""); err != nil {
			return err
		}
	}
	return o.discard(o.snap(obj, name))
}

// HoldSnapshot implements Streams.
func (o *Overlay) HoldSnapshot(ctx context.Context, obj Object, name string) (func(), error) {
	list, err := o.Snapshots(ctx, obj)
	if err != nil {
		return nil, err
	}
	s, err := snapshotOf(list, obj, name)
	if err != nil {
		return nil, fmt.Errorf("hold: %w", err)
	}
	if obj.Kind == KindLayer {
		return o.Hold(), nil
	}
	return o.heldSnaps.hold(o.snap(obj, s.Name)), nil
}
