//go:build unix

package transfer

import (
	"errors"
	"syscall"

	"github.com/rexcarcer/rexcarcer/zfssync"
)

// spaceError makes a full disk what callers branch on.
func spaceError(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return errors.Join(zfssync.ErrNoSpace, err)
	}
	return err
}
