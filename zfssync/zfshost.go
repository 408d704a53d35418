package zfssync

import (
	"context"
	"errors"
	"os"
	"path/filepath"
)

// copyHost makes a "host:/" base: datasets cannot show the host's root as it is, so it is copied.
func (s *ZFS) copyHost(ctx context.Context, dst string, progress Progress) error {
	progress("copy this host's root: a dataset cannot show it as it is")
	skip := append([]string{s.dir}, s.c.Hide...)
	for _, p := range emptied {
		skip = append(skip, filepath.Join(s.host, p))
	}
	if err := copyTree(ctx, s.host, dst, skip, s.c.Limits, progress); err != nil {
		return err
	}
	for _, p := range emptied {
		info, err := os.Lstat(filepath.Join(s.host, p))
		if errors.Is(err, os.ErrNotExist) || err == nil && !info.IsDir() {
			continue
		}
		if err == nil {
			err = os.MkdirAll(dst+p, 0o755)
		}
		if err == nil {
			err = sameRoot(dst+p, filepath.Join(s.host, p))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
