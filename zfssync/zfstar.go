package zfssync

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// receiveTar unpacks a layer that an overlay host made: its whiteouts remove what the clone of the parent has.
func (s *ZFS) receiveTar(ctx context.Context, obj Object, opt ReceiveOptions, r io.Reader) (err error) {
	if obj.Kind != KindLayer || opt.GUID != obj.Name || opt.From != opt.Layer {
		return fmt.Errorf("a tar stream: %w: of those a ZFS host takes layers alone", ErrFormat)
	}
	if s.HasLayer(obj.Name) {
		return nil
	}
	u := unpacking{mode: applyDelta, devices: opt.Devices, limits: opt.Limits, progress: opt.Progress}
	if u.limits == (Limits{}) {
		u.limits = s.c.Limits
	}
	if opt.Layer != "" {
		if !s.HasLayer(opt.Layer) {
			return fmt.Errorf("layer %s: %w", opt.Layer, ErrOriginMissing)
		}
		b, err := s.BeginStep(ctx, opt.Layer, obj.Name, IDMap{})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, b.Abort()) }()
		if err := unpackTar(ctx, r, b.Root(), u); err != nil {
			return err
		}
		return b.Commit(ctx)
	}
	t := s.newStep(obj.Name)
	defer func() { err = errors.Join(err, t.Abort()) }()
	t.props = append(t.props, assign{propBase, opt.Base})
	if err := s.z.create(ctx, t.ds(), s.mine(t.props...)...); err != nil {
		return err
	}
	if err := s.mountAt(ctx, t.ds(), t.at()); err != nil {
		return err
	}
	if err := unpackTar(ctx, r, t.at(), u); err != nil {
		return err
	}
	return t.Commit(ctx)
}
