//go:build !linux

package netd

// New returns ErrUnsupported: this driver is Linux's.
func New(Options) (Driver, error) { return nil, ErrUnsupported }
