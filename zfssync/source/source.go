package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rexcarcer/rexcarcer/zfssync"
	"github.com/rexcarcer/rexcarcer/zfssync/bundle"
)

// Config of Sources. Dir, Trusted, Now and Platform are needed.
type Config struct {
	Dir      string                 // of its own, absolute; made 0700 when missing
	Trusted  func() []bundle.Signer // whose signatures count now
	Now      func() time.Time
	Platform string         // of this host, as "linux/amd64"
	Limits   zfssync.Limits // of archives; zero fields get the defaults
	HTTP     *http.Client   // nil: one with bounded redirects and waits
	Pause    time.Duration  // before the first retry, doubled each time; 0: 200 ms
	Stall    time.Duration  // silence after which a download is begun again; 0: 30 s
	Log      *slog.Logger   // nil discards
}

// MaxPayload is the most that is downloaded for one base, in bytes.
const MaxPayload = 64 << 30

// Origin says what a base is and who stands for it.
type Origin struct {
	Ref      string    `json:"ref"`  // as the user wrote it
	Kind     string    `json:"kind"` // bundle, oci, freebsd, upload
	Digest   string    `json:"digest"`
	Version  uint64    `json:"version,omitempty"`
	Created  time.Time `json:"created,omitzero"`
	Platform string    `json:"platform,omitempty"`
	Signer   string    `json:"signer,omitempty"`    // fingerprint; "" where a digest stands for it
	SignedBy string    `json:"signed_by,omitempty"` // the signer's name
	Bytes    int64     `json:"bytes,omitempty"`     // to fetch; 0 when unknown
	Defaults *Defaults `json:"defaults,omitempty"`  // of an OCI image
}

// Defaults are what an OCI image says of its processes (OCI Image Configuration, section config). The command is its
// Entrypoint with its Cmd.
type Defaults struct {
	Env     []string `json:"env,omitempty"` // NAME=value, in order
	Command []string `json:"command,omitempty"`
	User    string   `json:"user,omitempty"`
	WorkDir string   `json:"workdir,omitempty"` // absolute
}

// Progress is called from one goroutine. total is 0 when unknown; text is one line, or "" for numbers alone.
type Progress func(text string, done, total int64)

// Fetched is a verified file. Close it when it is unpacked.
type Fetched struct {
	Origin Origin
	Path   string
	Format string // tar or zfs
}

// Close removes the file.
func (f Fetched) Close() error {
	if err := os.Remove(f.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Sources is safe for concurrent use.
type Sources struct {
	c    Config
	log  *slog.Logger
	http *http.Client

	mu   sync.Mutex
	busy map[string]chan struct{} // guarded by mu; by digest: closed when that fetch has ended
}

// New returns Sources; nothing is made yet.
func New(c Config) *Sources {
	s := &Sources{c: c, log: c.Log, http: c.HTTP, busy: map[string]chan struct{}{}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.http == nil {
		s.http = newClient()
	}
	if s.c.Pause == 0 {
		s.c.Pause = 200 * time.Millisecond
	}
	if s.c.Stall == 0 {
		s.c.Stall = 30 * time.Second
	}
	s.c.Limits = c.Limits.WithDefaults()
	return s
}

// place is one reference. look comes before fetch.
type place interface {
	// look reads what is small.
	look(ctx context.Context) (Origin, error)
	// fetch brings the content of o, which look gave, into a file of the directory ready.
	fetch(ctx context.Context, o Origin, progress Progress) (Fetched, error)
}

// Handles reports whether ref is for this package; everything else is for zfssync.Store.Base.
func (s *Sources) Handles(ref string) bool {
	_, _, ok := s.parse(ref)
	return ok
}

// Look says what ref means now. A pin in ref itself must hold. Errors of type *bundle.Refusal: it must not be taken.
func (s *Sources) Look(ctx context.Context, ref string) (Origin, error) {
	_, o, err := s.look(ctx, ref)
	return o, err
}

func (s *Sources) look(ctx context.Context, ref string) (place, Origin, error) {
	p, pin, ok := s.parse(ref)
	if !ok {
		return nil, Origin{}, fmt.Errorf("base %s: not a kind of base that is fetched", ref)
	}
	o, err := p.look(ctx)
	if err == nil && pin != "" && o.Digest != pin {
		err = &bundle.Refusal{Reason: bundle.OtherContent, Text: fmt.Sprintf("it is %s there now, not what the reference pins", o.Digest)}
	}
	if err != nil {
		return nil, Origin{}, s.refused(ref, "", err)
	}
	o.Ref = ref
	return p, o, nil
}

// Fetch brings what ref meant when Look gave digest; "" is what it means now.
func (s *Sources) Fetch(ctx context.Context, ref, digest string, progress Progress) (Fetched, error) {
	if progress == nil {
		progress = func(string, int64, int64) {}
	}
	if err := s.dirs(); err != nil {
		return Fetched{}, err
	}
	p, o, err := s.look(ctx, ref)
	if err != nil {
		return Fetched{}, err
	}
	if digest != "" && o.Digest != digest {
		return Fetched{}, fmt.Errorf("base %s: the cluster has pinned %s, and %s is there now: to take the new one: rexctl base update %s", ref, digest, o.Digest, ref)
	}
	unlock, err := s.lock(ctx, o.Digest)
	if err != nil {
		return Fetched{}, err
	}
	defer unlock()
	f, err := p.fetch(ctx, o, progress)
	if err != nil {
		return Fetched{}, s.refused(ref, s.partial(o.Digest), err)
	}
	f.Origin = o
	return f, nil
}

// lock lets one fetch of a digest run at a time.
func (s *Sources) lock(ctx context.Context, digest string) (unlock func(), err error) {
	for {
		s.mu.Lock()
		wait, taken := s.busy[digest]
		if !taken {
			done := make(chan struct{})
			s.busy[digest] = done
			s.mu.Unlock()
			return func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				delete(s.busy, digest)
				close(done)
			}, nil
		}
		s.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (s *Sources) dirs() error {
	for _, d := range []string{s.c.Dir, s.dir("partial"), s.dir("ready"), s.dir("quarantine")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return fmt.Errorf("make directory of bases: %w", err)
		}
	}
	return nil
}

func (s *Sources) dir(name string) string { return filepath.Join(s.c.Dir, name) }

func (s *Sources) partial(digest string) string {
	return filepath.Join(s.dir("partial"), fileOf(digest))
}

// ready names the verified file of a digest. Two fetches of one digest never run at once, but the file of the first may
// still be in use, so each has its own name.
func (s *Sources) ready(digest, end string) string {
	return filepath.Join(s.dir("ready"), fmt.Sprintf("%s-%d%s", fileOf(digest), s.c.Now().UnixNano(), end))
}

// fileOf makes a digest a file name.
func fileOf(digest string) string {
	if len(digest) > 7 && digest[:7] == "sha256:" {
		return digest[7:]
	}
	return "unknown"
}

// keepPartial is how long a file that came half waits for the rest.
const keepPartial = 7 * 24 * time.Hour

// Sweep removes what a predecessor left: files that were being unpacked, and halves that nobody has asked for in a week.
// Call it before the first Fetch.
func (s *Sources) Sweep() error {
	var errs []error
	for _, dir := range []string{"ready", "partial"} {
		entries, err := os.ReadDir(s.dir(dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		for _, e := range entries {
			info, err := e.Info()
			if err == nil && dir == "partial" && !strings.HasPrefix(e.Name(), uploadTemp) && s.c.Now().Sub(info.ModTime()) < keepPartial {
				continue
			}
			errs = append(errs, os.RemoveAll(filepath.Join(s.dir(dir), e.Name())))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("sweep bases: %w", err)
	}
	return nil
}
