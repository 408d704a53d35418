//go:build !freebsd

package jail

import (
	"context"
	"errors"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

var errFreeBSDOnly = errors.New("jail(8) is FreeBSD's")

// realKernel is there on FreeBSD only.
type realKernel struct{}

func (realKernel) start(run.Cmd) (int, func() int, error) { return 0, nil, errFreeBSDOnly }
func (realKernel) processes() ([]jailProcess, error)      { return nil, errFreeBSDOnly }

func (realKernel) watch(int) (func(context.Context) (int, bool, error), error) {
	return nil, errFreeBSDOnly
}
