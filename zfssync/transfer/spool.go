package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/rexcarcer/rexcarcer/zfssync"
)

// spooled brings a stream into a file first, and goes on with what an earlier try has left in it.
func (c *Client) spooled(ctx context.Context, q url.Values, sources []Source, tell *teller, take func(context.Context, io.Reader) error) (err error) {
	name := sha256.Sum256([]byte(q.Encode()))
	path := filepath.Join(c.spool, hex.EncodeToString(name[:16])+".part")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("spool stream: %w", err)
	}
	defer func() {
		if err == nil || errors.Is(err, errRestart) || errors.Is(err, zfssync.ErrNoSpace) { // done, or of no more use, or in the way
			err = errors.Join(err, os.Remove(path))
		}
		_ = f.Close() // what matters of it was read
	}()
	p := c.pull(q, sources, tell)
	if err := p.adopt(f); err != nil {
		return fmt.Errorf("spool stream: %w", err)
	}
	tell.begin(p.bytes)
	err = p.feedTo(ctx, func(_ context.Context, r io.Reader) error {
		_, err := io.Copy(onlyWriter{f}, r)
		return spaceError(err)
	})
	if err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("spool stream: %w", err)
	}
	return take(ctx, f)
}

// onlyWriter hides what os.File can besides, so that the feed writes its frames as they are.
type onlyWriter struct{ io.Writer }

// adopt takes the whole frames in f as the beginning of the stream, and leaves f at their end. That they are is proved by
// the source, which compares the sum over them.
func (p *pull) adopt(f *os.File) error {
	b := make([]byte, FrameSize)
	for {
		_, err := io.ReadFull(f, b)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return err
		}
		p.roll.add(checkOf(b))
		p.bytes += FrameSize
	}
	if err := f.Truncate(p.bytes); err != nil {
		return err
	}
	_, err := f.Seek(p.bytes, io.SeekStart)
	return err
}

// SweepSpool removes what no transfer has touched since before; it returns the paths. Call it at the start.
func (c *Client) SweepSpool(before time.Time) (removed []string, err error) {
	if c.spool == "" {
		return nil, nil
	}
	parts, err := filepath.Glob(filepath.Join(c.spool, "*.part"))
	if err != nil {
		return nil, err
	}
	for _, p := range parts {
		info, err := os.Stat(p)
		if err != nil || !info.ModTime().Before(before) {
			continue
		}
		if err := os.Remove(p); err != nil {
			return removed, fmt.Errorf("sweep spool: %w", err)
		}
		removed = append(removed, p)
	}
	return removed, nil
}
