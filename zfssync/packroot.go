package zfssync

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// PackTree writes a mounted root file system as a tar, with all that a jail can see of it, names in order. The same content
// gives the same bytes.
func PackTree(ctx context.Context, dir string, w io.Writer) error {
	if err := writeTar(ctx, packing{from: dir, exact: true}, w); err != nil {
		return fmt.Errorf("pack %s: %w", dir, err)
	}
	return nil
}

// PackRoot writes a mounted root file system as a tar that Store.Base takes, packed by zstd: one file system, no device
// nodes, names in order. The same content gives the same bytes.
func PackRoot(ctx context.Context, dir string, w io.Writer) error {
	z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return fmt.Errorf("pack %s: %w", dir, err)
	}
	return errors.Join(writeTar(ctx, packing{from: dir}, z), z.Close())
}
