package zfssync

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// PackRoot writes a mounted root file system as a tar that Store.Base takes, packed by zstd: one file system, no device
// nodes, names in order. The same content gives the same bytes.
func PackRoot(ctx context.Context, dir string, w io.Writer) error {
	z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return fmt.Errorf("pack %s: %w", dir, err)
	}
	return errors.Join(writeTar(ctx, packing{from: dir}, z), z.Close())
}
