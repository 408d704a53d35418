package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"time"

	"github.com/rexcarcer/rexcarcer/zfssync/bundle"
)

// download brings one file in as many requests as it takes.
type download struct {
	w        webFiles
	name     string
	size     int64 // below 0: unknown
	f        *os.File
	have     int64 // bytes in f
	progress Progress
	shown    time.Time
}

// rangeRE is Content-Range of a part (RFC 9110, section 14.4).
var rangeRE = regexp.MustCompile(`^bytes ([0-9]+)-[0-9]+/([0-9]+|\*)$`)

// once makes one request and takes what comes.
func (d *download) once(ctx context.Context) (got int64, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(d.w.s.c.Stall, func() { cancel(fmt.Errorf("nothing came for %v", d.w.s.c.Stall)) })
	defer silence.Stop()
	res, err := d.w.get(ctx, d.name, d.have)
	if err != nil {
		return 0, cause(ctx, err)
	}
	defer func() { _ = res.Body.Close() }()
	if err := d.place(res); err != nil {
		return 0, err
	}
	begin := d.have
	buf := make([]byte, 128<<10)
	for {
		n, rerr := res.Body.Read(buf)
		silence.Reset(d.w.s.c.Stall)
		if err := d.take(buf[:n]); err != nil {
			return d.have - begin, err
		}
		switch {
		case errors.Is(rerr, io.EOF):
			if d.size >= 0 && d.have < d.size {
				return d.have - begin, fmt.Errorf("the server closed after %d of %d bytes", d.have, d.size)
			}
			return d.have - begin, nil
		case rerr != nil:
			return d.have - begin, cause(ctx, rerr)
		}
	}
}

// place says where in the file the answer begins.
func (d *download) place(res *http.Response) error {
	switch res.StatusCode {
	case http.StatusPartialContent:
		m := rangeRE.FindStringSubmatch(res.Header.Get("Content-Range"))
		if m != nil && m[1] == strconv.FormatInt(d.have, 10) {
			if total, err := strconv.ParseInt(m[2], 10, 64); err == nil && d.size < 0 {
				d.size = min(total, MaxPayload)
			}
			return nil
		}
		return errors.Join(fmt.Errorf("the server sends another part than asked for: %q", res.Header.Get("Content-Range")), d.restart())
	case http.StatusOK: // all of it: the server knows no ranges, or it was asked for all
		if d.size >= 0 && res.ContentLength > d.size {
			return sizeFits(d.name, res.ContentLength, d.size)
		}
		if res.ContentLength > MaxPayload {
			return sizeFits(d.name, res.ContentLength, MaxPayload)
		}
		if d.size < 0 && res.ContentLength > 0 {
			d.size = res.ContentLength
		}
		return d.restart()
	case http.StatusRequestedRangeNotSatisfiable:
		return errors.Join(&status{d.w.where(d.name), http.StatusServiceUnavailable}, d.restart())
	}
	return &status{d.w.where(d.name), res.StatusCode}
}

func (d *download) restart() error {
	d.have = 0
	if err := d.f.Truncate(0); err != nil {
		return err
	}
	_, err := d.f.Seek(0, io.SeekStart)
	return err
}

// take writes what came, and shows it now and then.
func (d *download) take(b []byte) error {
	if d.size >= 0 && d.have+int64(len(b)) > d.size {
		return &bundle.Refusal{Name: d.name, Reason: bundle.TrailingData, Text: fmt.Sprintf("the server sends more than the %d bytes of %s", d.size, d.name)}
	}
	if d.have+int64(len(b)) > MaxPayload {
		return sizeFits(d.name, d.have+int64(len(b)), MaxPayload)
	}
	n, err := d.f.Write(b)
	d.have += int64(n)
	if now := time.Now(); now.Sub(d.shown) > 200*time.Millisecond {
		d.shown = now
		d.progress("", d.have, max(d.size, 0))
	}
	return err
}

// cause says why a context ended where that is more than "canceled".
func cause(ctx context.Context, err error) error {
	if c := context.Cause(ctx); c != nil && !errors.Is(c, context.Canceled) {
		return c
	}
	return err
}
