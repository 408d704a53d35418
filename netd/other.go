//go:build !linux && !freebsd

package netd

// New returns ErrUnsupported: there are drivers for Linux and for FreeBSD.
func New(Options) (Driver, error) { return nil, ErrUnsupported }
