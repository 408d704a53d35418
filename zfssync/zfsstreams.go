package zfssync

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Send implements Streams.
func (s *ZFS) Send(ctx context.Context, obj Object, opt SendOptions, w io.Writer) error {
	if err := obj.check(); err != nil {
		return err
	}
	snap, err := s.snapshot(obj, opt.Snapshot, opt.From)
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	args, err := s.sendArgs(snap, opt)
	if err != nil {
		return fmt.Errorf("send %s: %w", obj, err)
	}
	release, err := s.holdSnap(ctx, obj, snap)
	if err != nil {
		return err
	}
	defer release()
	if err := s.z.stream(ctx, nil, w, args...); err != nil {
		return fmt.Errorf("send %s: %w", obj, err)
	}
	return nil
}

func (s *ZFS) sendArgs(snap zsnap, opt SendOptions) ([]string, error) {
	if opt.Resume != "" {
		if !s.can.resume {
			return nil, fmt.Errorf("resume: %w: %s", ErrFormat, s.feat.ResumeReason)
		}
		if !tokenRE.MatchString(opt.Resume) {
			return nil, errors.New("the resume token is malformed")
		}
		return []string{"send", "-t", opt.Resume}, nil
	}
	args := []string{"send"}
	if len(s.can.sendFlags) > 0 {
		args = append(args, "-"+strings.Join(s.can.sendFlags, ""))
	}
	if opt.From == "" {
		return append(args, snap.full), nil
	}
	ds, _, _ := strings.Cut(snap.full, "@")
	if s.originGUID(ds) == opt.From {
		return append(args, "-i", s.known(ds).value("origin"), snap.full), nil
	}
	for _, old := range s.snapsOf(ds) {
		if old.guid == opt.From && old.full != snap.full {
			return append(args, "-i", old.full, snap.full), nil
		}
	}
	return nil, fmt.Errorf("it has no older snapshot with GUID %s: %w", opt.From, ErrNotFound)
}

// Receive implements Streams.
func (s *ZFS) Receive(ctx context.Context, obj Object, opt ReceiveOptions, r io.Reader) error {
	if err := checkReceive(obj, opt, FormatZFS); err != nil {
		return fmt.Errorf("receive %s: %w", obj, err)
	}
	unlock, err := s.keys.lock(ctx, obj.lockName())
	if err != nil {
		return err
	}
	defer unlock()
	defer s.Hold()() // what it stands on stays meanwhile
	if opt.Format == FormatTar {
		err = s.receiveTar(ctx, obj, opt, r)
	} else {
		err = s.receive(ctx, obj, opt, r)
	}
	if err != nil {
		return fmt.Errorf("receive %s: %w", obj, noSpace(err))
	}
	return nil
}

func (s *ZFS) receive(ctx context.Context, obj Object, opt ReceiveOptions, r io.Reader) error {
	have, err := s.Snapshots(ctx, obj)
	if err != nil {
		return err
	}
	for _, h := range have {
		if h.GUID == opt.GUID {
			return nil
		}
		if h.Name == opt.Snapshot && obj.Kind != KindLayer {
			return fmt.Errorf("another snapshot is called %s: drop it, or choose another name", opt.Snapshot)
		}
	}
	origin := ""
	if opt.From != "" {
		if origin = s.byGUID(opt.From); origin == "" {
			return fmt.Errorf("snapshot %s: %w", opt.From, ErrOriginMissing)
		}
	}
	head, first, err := readHead(r, opt.Resumable)
	if err != nil {
		return err
	}
	if err := head.match(opt); err != nil {
		return err
	}
	in := &inlet{r: io.MultiReader(bytes.NewReader(first), r)}
	if ds := s.ds(string(obj.Kind), obj.Name); obj.Kind != KindLayer && s.own(ds) != nil {
		return s.receiveOnto(ctx, ds, obj, opt, in)
	}
	return s.receiveNew(ctx, obj, opt, origin, in)
}

// recvName is the dataset in staging for one snapshot: the same at every try.
func recvName(obj Object, guid string) string {
	sum := sha256.Sum256([]byte(obj.String() + " " + guid))
	return "recv-" + hex.EncodeToString(sum[:8])
}

// receiveNew receives an object that is not here, in staging, and renames it into its place when it is whole.
func (s *ZFS) receiveNew(ctx context.Context, obj Object, opt ReceiveOptions, origin string, in *inlet) error {
	staged := s.ds("staging", recvName(obj, opt.GUID))
	s.mu.Lock()
	s.active[staged] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.active, staged)
	}()
	done, err := s.stagedAlready(ctx, staged, opt)
	if err != nil {
		return err
	}
	props, err := s.receivedProps(obj, opt)
	if err != nil {
		return err
	}
	if !done {
		args := append([]string{"receive", "-u"}, s.receiveFlags(opt, props)...)
		if origin != "" && s.can.recvSet {
			args = append(args, "-o", "origin="+origin)
		}
		if err := s.z.stream(ctx, in, nil, append(args, staged+"@"+opt.Snapshot)...); err != nil {
			return errors.Join(in.err, err, s.giveUp(staged, opt))
		}
		if in.err != nil {
			return errors.Join(in.err, s.giveUp(staged, opt))
		}
	}
	if err := s.confirm(ctx, staged); err != nil {
		return err
	}
	if guid := s.known(staged + "@" + opt.Snapshot).value("guid"); guid != opt.GUID {
		return errors.Join(fmt.Errorf("snapshot %s came out as %q: refused", opt.GUID, guid), s.remove(ctx, staged))
	}
	if err := s.setMissing(ctx, staged, props); err != nil {
		return err
	}
	if obj.Kind == KindLayer {
		return s.commitLayer(ctx, staged, obj.Name, true)
	}
	to := s.ds(string(obj.Kind), obj.Name)
	if err := s.z.rename(ctx, staged, to); err != nil {
		return err
	}
	s.forget(staged)
	return s.refresh(ctx, to)
}

// stagedAlready reports whether a predecessor had received all. What it left half is removed, unless it can be gone on
// with.
func (s *ZFS) stagedAlready(ctx context.Context, staged string, opt ReceiveOptions) (bool, error) {
	err := s.confirm(ctx, staged)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if snap := s.known(staged + "@" + opt.Snapshot); snap != nil && snap.value("guid") == opt.GUID {
		return true, nil
	}
	if s.known(staged).value(propToken) != "" && opt.Resumable {
		return false, nil
	}
	return false, s.remove(ctx, staged)
}

// receivedProps are those that a received dataset gets.
func (s *ZFS) receivedProps(obj Object, opt ReceiveOptions) ([]assign, error) {
	switch obj.Kind {
	case KindLayer:
		if opt.Layer != "" {
			return s.mine(assign{propLayer, obj.Name}, assign{propParent, opt.Layer}), nil
		}
		return s.mine(assign{propLayer, obj.Name}, assign{propBase, opt.Base}), nil
	case KindJail:
		props, err := jailProps(opt.Image, opt.Layer, opt.Options)
		return s.mine(props...), err
	}
	return s.mine(quota(opt.QuotaBytes)), nil
}

// receiveFlags keep what the sender set out, where zfs(8) can.
func (s *ZFS) receiveFlags(opt ReceiveOptions, props []assign) []string {
	var out []string
	if opt.Resumable && s.can.resume {
		out = append(out, "-s")
	}
	if s.can.recvSet {
		out = append(append(out, "-x", "mountpoint"), options(props)...)
	}
	return out
}

// setMissing sets what the receive could not.
func (s *ZFS) setMissing(ctx context.Context, ds string, props []assign) error {
	set := s.known(ds)
	for _, p := range props {
		if strings.Contains(p.name, ":") && set.local(p.name) == p.value {
			continue
		}
		if s.can.recvSet && !strings.Contains(p.name, ":") {
			continue // it was part of the receive
		}
		if err := s.z.set(ctx, ds, p); err != nil {
			return err
		}
	}
	return nil
}

// giveUp removes what a cut receive left, unless it is to be gone on with. It works when the caller's time is over, too.
func (s *ZFS) giveUp(staged string, opt ReceiveOptions) error {
	ctx, cancel := context.WithTimeout(context.Background(), zfsTime)
	defer cancel()
	if opt.Resumable && s.can.resume {
		return s.reread(ctx, staged)
	}
	return s.remove(ctx, staged)
}

// receiveOnto receives a newer snapshot of what is here. zfs receive itself does it whole or not at all; what was written
// since the last snapshot goes.
func (s *ZFS) receiveOnto(ctx context.Context, ds string, obj Object, opt ReceiveOptions, in *inlet) error {
	snaps := s.snapsOf(ds)
	if len(snaps) == 0 || snaps[len(snaps)-1].guid != opt.From {
		return fmt.Errorf("it is here already, and its newest snapshot is not %q: roll back or drop what is newer, or destroy it: %w", opt.From, errExists)
	}
	if err := s.unused(obj); err != nil {
		return err
	}
	if err := s.confirm(ctx, ds); err != nil {
		return err
	}
	if err := s.mnt.unmount(s.at(string(obj.Kind), obj.Name)); err != nil {
		return err
	}
	// -F would do this too, but it cannot wait until the unmount is over in all of the kernel.
	if err := s.rollbackTo(ctx, ds, snaps[len(snaps)-1].name); err != nil {
		return err
	}
	args := []string{"receive", "-u", "-F"}
	if opt.Resumable && s.can.resume {
		args = append(args, "-s")
	}
	err := s.z.stream(ctx, in, nil, append(args, ds+"@"+opt.Snapshot)...)
	err = errors.Join(in.err, err)
	rctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), zfsTime)
	defer cancel()
	if err = errors.Join(err, s.refresh(rctx, ds)); err != nil {
		return err
	}
	if guid := s.known(ds + "@" + opt.Snapshot).value("guid"); guid != opt.GUID {
		return errors.Join(fmt.Errorf("snapshot %s came out as %q: refused", opt.GUID, guid),
			s.dropSnapshot(rctx, ds, opt.Snapshot), s.rollbackTo(rctx, ds, snaps[len(snaps)-1].name))
	}
	return nil
}
