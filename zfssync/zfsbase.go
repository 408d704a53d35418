package zfssync

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Base implements Store.
func (s *ZFS) Base(ctx context.Context, ref, key string, progress Progress) (err error) {
	if _, err := digestOf(key); err != nil {
		return err
	}
	if strings.ContainsAny(ref, "\n\t") || len(ref) > 1000 {
		return fmt.Errorf("base %.40q: it has control characters, or is too long", ref)
	}
	if progress == nil {
		progress = func(string) {}
	}
	unlock, err := s.keys.lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	if s.HasLayer(key) {
		return nil
	}
	t := s.newStep(key)
	defer func() { err = errors.Join(err, t.Abort()) }()
	t.props = append(t.props, assign{propBase, ref})
	if err := t.s.z.create(ctx, t.ds(), s.mine(t.props...)...); err != nil {
		return fmt.Errorf("base %s: %w", ref, err)
	}
	if err := s.mountAt(ctx, t.ds(), t.at()); err != nil {
		return fmt.Errorf("base %s: %w", ref, err)
	}
	if ref == hostBase {
		err = s.copyHost(ctx, t.at(), progress)
	} else {
		err = s.c.fillBase(ctx, t.at(), ref, []string{s.dir}, progress)
	}
	if err != nil {
		return fmt.Errorf("base %s: %w", ref, noSpace(err))
	}
	return t.Commit(ctx)
}
