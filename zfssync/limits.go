package zfssync

import (
	"errors"
	"fmt"
	"io"
)

// ErrTooMuch says that an archive passes the Limits.
var ErrTooMuch = errors.New("more than an archive may have")

// ratioFrom is the unpacked size from which on the ratio is judged: small archives of zeros are no danger.
const ratioFrom = 64 << 20

// bounded counts what goes in and what comes out of a decompressor, and ends a bomb.
type bounded struct {
	packed   *counter
	unpacked io.Reader
	limits   Limits
	out      int64
}

type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// Read fails as soon as a limit is passed.
func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.unpacked.Read(p)
	b.out += int64(n)
	// Headers and padding of a tar are at most 2 KiB a member above its content.
	if b.out > b.limits.Bytes+2048*b.limits.Entries {
		return n, fmt.Errorf("archive unpacks to more than %d bytes: %w", b.limits.Bytes, ErrTooMuch)
	}
	if b.out > ratioFrom && b.packed.n > 0 && b.out/b.packed.n > b.limits.Ratio {
		return n, fmt.Errorf("archive unpacks to more than %d times its size: %w", b.limits.Ratio, ErrTooMuch)
	}
	return n, err
}

// tally counts members and their content.
type tally struct {
	limits         Limits
	entries, bytes int64
}

func (t *tally) add(size int64) error {
	t.entries++
	t.bytes += size
	if t.entries > t.limits.Entries {
		return fmt.Errorf("archive has more than %d members", t.limits.Entries)
	}
	if size < 0 || t.bytes > t.limits.Bytes {
		return fmt.Errorf("archive unpacks to more than %d bytes", t.limits.Bytes)
	}
	return nil
}
