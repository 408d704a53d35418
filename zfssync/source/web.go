package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/rexcarcer/rexcarcer/zfssync/bundle"
)

// Limits of talking to a web server.
const (
	maxRedirects = 5
	maxAttempts  = 5   // in a row without a byte
	maxRequests  = 100 // for one file, whatever came
	maxPause     = 10 * time.Second
)

func newClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			TLSHandshakeTimeout:   10 * time.Second,
			ResponseHeaderTimeout: 30 * time.Second,
			IdleConnTimeout:       30 * time.Second,
			MaxIdleConnsPerHost:   4,
			DisableCompression:    true, // ranges are of the file as it lies there
		},
		CheckRedirect: checkRedirect,
	}
}

// checkRedirect follows few, and never from https to http: the files are signed, but who asks for what is nobody's business.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	if via[0].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return errors.New("it leads from https to http")
	}
	return nil
}

// webFiles is a directory on a web server.
type webFiles struct {
	s   *Sources
	dir *url.URL // path ends with /
}

func (w webFiles) where(name string) string { return w.dir.JoinPath(name).String() }

// status is an answer other than the wanted one.
type status struct {
	url  string
	code int
}

func (e *status) Error() string {
	return fmt.Sprintf("%s: the server answers %d %s", e.url, e.code, http.StatusText(e.code))
}

// Is makes a missing file fs.ErrNotExist.
func (e *status) Is(target error) bool {
	return target == fs.ErrNotExist && (e.code == http.StatusNotFound || e.code == http.StatusGone)
}

// temporary errors may be gone at the next try.
func temporary(err error) bool {
	if e, ok := errors.AsType[*status](err); ok {
		return e.code >= 500 || e.code == http.StatusTooManyRequests || e.code == http.StatusRequestTimeout
	}
	if _, ok := bundle.IsRefusal(err); ok {
		return false
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok && e != nil { // our own disk
		return false
	}
	text := err.Error()
	return !strings.Contains(text, "redirects") && !strings.Contains(text, "from https to http") && !strings.Contains(text, "certificate")
}

// retry calls do until it succeeds, fails for good, or has failed too often without progress. do returns how many bytes
// it brought.
func (s *Sources) retry(ctx context.Context, progress Progress, do func() (int64, error)) error {
	pause := s.c.Pause
	for failed, requests := 0, 1; ; requests++ {
		n, err := do()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if n > 0 {
			failed, pause = 0, s.c.Pause
		}
		if failed++; !temporary(err) || failed == maxAttempts || requests == maxRequests {
			return err
		}
		if progress != nil {
			progress(fmt.Sprintf("%v; trying again in %v", err, pause), 0, 0)
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
		pause = min(2*pause, maxPause)
	}
}

func (w webFiles) get(ctx context.Context, name string, from int64) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.where(name), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "rexcarcer")
	if from > 0 {
		req.Header.Set("Range", "bytes="+strconv.FormatInt(from, 10)+"-")
	}
	return w.s.http.Do(req)
}

func (w webFiles) small(ctx context.Context, name string, limit int64) (b []byte, err error) {
	err = w.s.retry(ctx, nil, func() (int64, error) {
		ctx, cancel := context.WithTimeout(ctx, w.s.c.Stall)
		defer cancel()
		res, err := w.get(ctx, name, 0)
		if err != nil {
			return 0, err
		}
		defer func() { _ = res.Body.Close() }()
		if res.StatusCode != http.StatusOK {
			return 0, &status{w.where(name), res.StatusCode}
		}
		b, err = readSmall(res.Body, name, limit)
		return 0, err
	})
	return b, err
}

// signatures asks for those of trusted signers: a web server has no list that one could trust.
func (w webFiles) signatures(ctx context.Context, name string, trusted []bundle.Signer) (map[string][]byte, error) {
	out := map[string][]byte{}
	for _, t := range trusted {
		b, err := w.small(ctx, name+bundle.SigSuffix+t.Fingerprint, bundle.MaxSig)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out[t.Fingerprint] = b
	}
	return out, nil
}

func (w webFiles) payload(ctx context.Context, name string, size int64, to string, progress Progress) (err error) {
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	d := &download{w: w, name: name, size: size, f: f, progress: progress}
	if d.have, err = f.Seek(0, io.SeekEnd); err != nil {
		return err
	}
	if size >= 0 && d.have == size {
		return nil
	}
	if d.have > 0 {
		progress(fmt.Sprintf("going on at %d bytes", d.have), d.have, max(size, 0))
	}
	if err := w.s.retry(ctx, progress, func() (int64, error) { return d.once(ctx) }); err != nil {
		return fmt.Errorf("fetch %s: %w", w.where(name), err)
	}
	progress("", d.have, d.have)
	return f.Sync()
}
