package build

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/rexcarcer/rexcarcer/zfssync"
)

// Export writes the whole root file system of an image, all its layers together, as zfssync.PackRoot does.
func (b *Builder) Export(ctx context.Context, imageKey string, w io.Writer) (err error) {
	defer b.c.Store.Hold()()
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
	if err := zfssync.PackRoot(ctx, root, w); err != nil {
		return fmt.Errorf("export image: %w", err)
	}
	return nil
}
