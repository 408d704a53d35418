package netd

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Check finds what Set(c) would find in its way, and changes nothing.
func (d *linux) Check(ctx context.Context, c Config) error {
	d.setMu.Lock()
	defer d.setMu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	nets, errs := c.normalize()
	l, err := d.scan()
	if err != nil {
		return fmt.Errorf("check networks: %w", err)
	}
	inUse, err := d.inUse(l)
	if err != nil {
		return fmt.Errorf("check networks: %w", err)
	}
	for _, n := range nets {
		if o := overlap(n, inUse); o != nil {
			errs = append(errs, o)
		}
		for _, p := range n.Publish {
			errs = append(errs, d.tryPort(n, p))
		}
	}
	return errors.Join(errs...)
}

// tryPort says why a port cannot be had, or nil.
func (d *linux) tryPort(n Network, p Publish) error {
	for _, f := range n.families() {
		if _, have := d.reserved[portKey(p, f)]; have {
			continue
		}
		fd, err := d.bind(p, f)
		switch {
		case errors.Is(err, unix.EAFNOSUPPORT) && f == unix.AF_INET6:
		case errors.Is(err, unix.EADDRINUSE):
			return &PortTakenError{Network: n.Name, Port: p.HostPort, Proto: p.Proto, Process: d.holder(p)}
		case err != nil:
			return &NetworkError{Network: n.Name, Err: fmt.Errorf("network %s: port %s: %w", n.Name, portKey(p, f), err)}
		default:
			_ = unix.Close(fd) // it was only a try
		}
	}
	return nil
}
