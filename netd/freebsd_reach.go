package netd

import (
	"context"
	"fmt"
)

// Reach has no way to other hosts here yet.
func (d *freebsd) Reach(_ context.Context, remote []Remote) error {
	if len(remote) > 0 {
		return fmt.Errorf("reach other hosts: %w", ErrUnsupported)
	}
	return nil
}
