package zfssync

import (
	"context"
	"errors"
	"fmt"
)

// Base implements Store.
func (o *Overlay) Base(ctx context.Context, ref, key string, progress Progress) (err error) {
	if _, err := digestOf(key); err != nil {
		return err
	}
	if progress == nil {
		progress = func(string) {}
	}
	unlock, err := o.keys.lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	if o.HasLayer(key) {
		return nil
	}
	s, err := o.stage(key)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Abort()) }()
	s.meta.Base = ref
	if ref == hostBase {
		s.meta.HostRoot = true
		err = sameRoot(s.fs(), "/") // the layer itself is empty, see hostView
	} else {
		err = o.c.fillBase(ctx, s.fs(), ref, []string{o.dir}, progress)
	}
	if err != nil {
		return fmt.Errorf("base %s: %w", ref, err)
	}
	return s.Commit(ctx)
}
