package build

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/rexcarcer/rexcarcer/zfssync"
)

// Export writes the whole root file system of an image, all its layers together, packed by zstd: as zfssync.PackRoot does
// ("tar"), or as zfs send does where the store is ZFS ("zfs"). format "" is the store's own. open is called once, before
// the first byte, with the format that was taken.
func (b *Builder) Export(ctx context.Context, imageKey, format string, open func(format zfssync.Format) io.Writer) error {
	defer b.c.Store.Hold()()
	img, err := b.c.Store.Image(imageKey)
	if err != nil {
		return fmt.Errorf("export image: %w", err)
	}
	layer := zfssync.Object{Kind: zfssync.KindLayer, Name: img.Top}
	snapshot, zfs, err := b.zfsSnapshot(ctx, layer)
	if err != nil {
		return fmt.Errorf("export image: %w", err)
	}
	switch {
	case format == string(zfssync.FormatZFS) && !zfs:
		return errors.New("export image: this host's storage is not ZFS: take --format tar")
	case format == string(zfssync.FormatTar) || !zfs:
		return b.exportTar(ctx, imageKey, open)
	}
	z, err := zstd.NewWriter(open(zfssync.FormatZFS), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return fmt.Errorf("export image: %w", err)
	}
	err = b.c.Store.(zfssync.Streams).Send(ctx, layer, zfssync.SendOptions{Snapshot: snapshot}, z)
	if err = errors.Join(err, z.Close()); err != nil {
		return fmt.Errorf("export image: %w", err)
	}
	return nil
}

// zfsSnapshot is the layer's snapshot, where the store is ZFS.
func (b *Builder) zfsSnapshot(ctx context.Context, layer zfssync.Object) (name string, ok bool, err error) {
	s, ok := b.c.Store.(zfssync.Streams)
	if !ok {
		return "", false, nil
	}
	all, err := s.Snapshots(ctx, layer)
	if err != nil || len(all) == 0 {
		return "", false, err
	}
	newest := all[len(all)-1]
	return newest.Name, newest.Format == zfssync.FormatZFS, nil
}

func (b *Builder) exportTar(ctx context.Context, imageKey string, open func(format zfssync.Format) io.Writer) (err error) {
	uuid := randomUUID()
	// What a killed daemon leaves of it is a clone that nobody knows: the next start sweeps it.
	root, err := b.c.Store.Clone(ctx, imageKey, uuid, zfssync.CloneOptions{})
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
		defer cancel()
		err = errors.Join(err, b.c.Store.Destroy(ctx, uuid))
	}()
	if err != nil {
		return fmt.Errorf("export image: %w", err)
	}
	if err := zfssync.PackRoot(ctx, root, open(zfssync.FormatTar)); err != nil {
		return fmt.Errorf("export image: %w", err)
	}
	return nil
}
