package zfssync

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// point is where a test lets the daemon die.
func (o *Overlay) point(name string) error {
	if o.fail == nil {
		return nil
	}
	return o.fail(name)
}

// Send implements Streams.
func (o *Overlay) Send(ctx context.Context, obj Object, opt SendOptions, w io.Writer) error {
	if opt.Resume != "" {
		return fmt.Errorf("send %s: resume: %w: %s", obj, ErrFormat, o.feat.ResumeReason)
	}
	list, err := o.Snapshots(ctx, obj)
	if err != nil {
		return err
	}
	s, err := snapshotOf(list, obj, opt.Snapshot)
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	delta := obj.Kind == KindVolume && opt.From != "" && opt.From == s.Over
	if opt.From != s.Origin && !delta {
		return fmt.Errorf("send %s from %q: %w: a tar stream of it begins at %q", obj, opt.From, ErrFormat, s.Origin)
	}
	release, err := o.HoldSnapshot(ctx, obj, s.Name)
	if err != nil {
		return err
	}
	defer release()
	dir := filepath.Join(o.snap(obj, s.Name), "data")
	if obj.Kind == KindLayer {
		digest, err := digestOf(obj.Name)
		if err != nil {
			return err
		}
		dir = filepath.Join(o.layout.layer(digest), "fs")
		if m, err := o.readLayer(obj.Name); err == nil && m.HostRoot {
			return fmt.Errorf("send %s: it stands on this host's own root (host:/), which cannot travel: %w", obj, ErrFormat)
		}
	}
	if delta {
		if err := o.sendDelta(ctx, obj, dir, s.Over, list, w); err != nil {
			return fmt.Errorf("send %s from %s on: %w", obj, s.Over, err)
		}
		return nil
	}
	if err := writeTar(ctx, packing{from: dir, exact: true}, w); err != nil {
		return fmt.Errorf("send %s: %w", obj, err)
	}
	return nil
}

// sendDelta writes what dir has that the snapshot guid has not.
func (o *Overlay) sendDelta(ctx context.Context, obj Object, dir, guid string, list []Snapshot, w io.Writer) error {
	i := slices.IndexFunc(list, func(s Snapshot) bool { return s.GUID == guid })
	if i < 0 {
		return fmt.Errorf("the snapshot that it stands on: %w", ErrNotFound)
	}
	release, err := o.HoldSnapshot(ctx, obj, list[i].Name)
	if err != nil {
		return err
	}
	defer release()
	return sendOver(ctx, dir, filepath.Join(o.snap(obj, list[i].Name), "data"), w)
}

// Receive implements Streams.
func (o *Overlay) Receive(ctx context.Context, obj Object, opt ReceiveOptions, r io.Reader) error {
	if err := checkReceive(obj, opt, FormatTar); err != nil {
		return fmt.Errorf("receive %s: %w", obj, err)
	}
	unlock, err := o.keys.lock(ctx, obj.lockName())
	if err != nil {
		return err
	}
	defer unlock()
	if obj.Kind == KindLayer {
		err = o.receiveLayer(ctx, obj.Name, opt, r)
	} else {
		err = o.receiveTree(ctx, obj, opt, r)
	}
	if err != nil {
		return fmt.Errorf("receive %s: %w", obj, noSpace(err))
	}
	return nil
}

func (o *Overlay) unpacking(opt ReceiveOptions) unpacking {
	u := unpacking{mode: keepDelta, devices: opt.Devices, limits: opt.Limits, progress: opt.Progress}
	if u.limits == (Limits{}) {
		u.limits = o.c.Limits
	}
	return u
}

// origin checks what the stream stands on.
func (o *Overlay) origin(opt ReceiveOptions) (stack, error) {
	if opt.From != opt.Layer {
		return stack{}, fmt.Errorf("a tar stream stands on its layer %q, not on %q: %w", opt.Layer, opt.From, ErrFormat)
	}
	if opt.Layer == "" {
		return stack{}, nil
	}
	below, err := o.stackOf(opt.Layer)
	if errors.Is(err, ErrNotFound) {
		return stack{}, fmt.Errorf("layer %s: %w", opt.Layer, ErrOriginMissing)
	}
	return below, err
}

func (o *Overlay) receiveLayer(ctx context.Context, key string, opt ReceiveOptions, r io.Reader) (err error) {
	if opt.GUID != key {
		return fmt.Errorf("its GUID is %q: a tar of a layer has the layer's key", opt.GUID)
	}
	if o.HasLayer(key) {
		return nil
	}
	defer o.Hold()() // the parent stays meanwhile
	below, err := o.origin(opt)
	if err != nil {
		return err
	}
	if len(below.lowers)+1 > maxLayers {
		return fmt.Errorf("an image has at most %d layers", maxLayers)
	}
	s, err := o.stage(key)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Abort()) }()
	s.meta.Base, s.meta.HostRoot = opt.Base, below.host
	if opt.Layer != "" {
		s.meta.Base = ""
		s.meta.Chain = append([]string{opt.Layer}, below.chain...)
	}
	if err := unpackTar(ctx, r, s.fs(), o.unpacking(opt)); err != nil {
		return err
	}
	if err := o.point("layer unpacked"); err != nil {
		return err
	}
	return s.Commit(ctx)
}

// receiveTree receives a snapshot of a volume or a jail. The live directory is made from it when it is first used.
func (o *Overlay) receiveTree(ctx context.Context, obj Object, opt ReceiveOptions, r io.Reader) error {
	list, err := o.readSnaps(obj)
	if err != nil {
		return err
	}
	for _, s := range list {
		if s.GUID == opt.GUID {
			return nil
		}
	}
	if slices.ContainsFunc(list, func(s namedSnap) bool { return s.name == opt.Snapshot }) {
		return fmt.Errorf("another snapshot is called %s: drop it, or choose another name", opt.Snapshot)
	}
	defer o.Hold()()
	if obj.Kind == KindJail {
		if err := o.receivableJail(obj.Name, opt); err != nil {
			return err
		}
	}
	base := ""
	if obj.Kind == KindVolume && opt.From != "" {
		i := slices.IndexFunc(list, func(s namedSnap) bool { return s.GUID == opt.From })
		if i < 0 {
			return fmt.Errorf("snapshot %s of the volume: %w", opt.From, ErrOriginMissing)
		}
		base = filepath.Join(o.snap(obj, list[i].name), "data")
	}
	if err := o.unused(obj); err != nil {
		return err
	}
	return o.staged("recv-", func(dir string) error {
		data := filepath.Join(dir, "data")
		if err := os.Mkdir(data, 0o700); err != nil {
			return err
		}
		if err := o.unpackTree(ctx, r, data, base, opt); err != nil {
			return err
		}
		if err := o.point("tree unpacked"); err != nil {
			return err
		}
		if err := o.unused(obj); err != nil { // a jail may have been started meanwhile by another way
			return err
		}
		return o.place(obj, opt, dir)
	})
}

// unpackTree unpacks the stream of a volume or jail: all of it, or what differs from base.
func (o *Overlay) unpackTree(ctx context.Context, r io.Reader, data, base string, opt ReceiveOptions) error {
	u := o.unpacking(opt)
	if base != "" {
		if err := linkTree(ctx, base, data); err != nil {
			return err
		}
		u.mode = applyDelta
	}
	return unpackTar(ctx, r, data, u)
}

// place makes the staged snapshot the newest one of obj, and its content obj's.
func (o *Overlay) place(obj Object, opt ReceiveOptions, dir string) error {
	if err := os.MkdirAll(o.objectDir(obj), 0o711); err != nil {
		return err
	}
	switch obj.Kind {
	case KindJail:
		if _, err := os.Stat(o.recordFile(obj)); !errors.Is(err, os.ErrNotExist) {
			break
		}
		rec := cloneRecord{ImageKey: opt.Image, Top: opt.Layer, Options: opt.Options}
		if err := writeJSON(o.recordFile(obj), rec, true); err != nil {
			return err
		}
	case KindVolume:
		if err := readJSON(o.recordFile(obj), &volumeRecord{}); !errors.Is(err, ErrNotFound) {
			break
		}
		if err := writeJSON(o.recordFile(obj), volumeRecord{QuotaBytes: opt.QuotaBytes}, true); err != nil {
			return err
		}
	}
	if err := o.point("record written"); err != nil {
		return err
	}
	// The head comes first: it means nothing until the snapshot is in its place, and then at once.
	if err := o.setHead(obj, opt.Snapshot); err != nil {
		return err
	}
	if err := o.point("head written"); err != nil {
		return err
	}
	return o.commitSnap(obj, opt.Snapshot, dir, snapRecord{GUID: opt.GUID})
}

// receivableJail checks that the jail's stream fits what is here.
func (o *Overlay) receivableJail(uuid string, opt ReceiveOptions) error {
	if err := o.needIDMap(opt.Options.IDMap); err != nil {
		return err
	}
	if _, err := o.origin(opt); err != nil {
		return err
	}
	var was cloneRecord
	err := readJSON(filepath.Join(o.jail(uuid), "clone.json"), &was)
	if err == nil && was.Top != opt.Layer {
		return fmt.Errorf("it is a clone of layer %s already, the stream's is %s: destroy it first", was.Top, opt.Layer)
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	return nil
}

// ResumeToken implements Streams: there is none, see Features.
func (o *Overlay) ResumeToken(context.Context, Object, string) (string, error) { return "", nil }

// AbortReceive implements Streams: nothing is kept.
func (o *Overlay) AbortReceive(context.Context, Object) error { return nil }
