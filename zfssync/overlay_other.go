//go:build !linux

package zfssync

import (
	"errors"
)

// OpenOverlay needs Linux.
func OpenOverlay(Config) (Store, error) {
	return nil, errors.New("overlayfs exists on linux only; on this system the store needs a ZFS pool, which this version does not drive yet")
}
