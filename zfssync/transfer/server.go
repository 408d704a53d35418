package transfer

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/rexcarcer/rexcarcer/zfssync"
)

// Store is what both sides need of a zfssync.Store.
type Store interface {
	zfssync.Streams
	Features() zfssync.Features
	HasImage(key string) bool
	Image(key string) (zfssync.Image, error)
	PutImage(ctx context.Context, img zfssync.Image) error
	Layer(key string) (zfssync.LayerInfo, error)
	Hold() (release func())
	List(ctx context.Context) (zfssync.Listing, error)
}

// Server answers peers from a Store. It is an http.Handler.
type Server struct {
	store   Store
	allow   func(*tls.ConnectionState) error
	log     *slog.Logger
	limit   *rate.Limiter
	slots   chan struct{}
	stall   time.Duration
	metrics *Metrics
	board   *Board
	peer    func(*tls.ConnectionState) string
	mux     *http.ServeMux
}

// ServerConfig says what a Server is made of.
type ServerConfig struct {
	Store Store

	// Allow decides about the verified connection of a peer: hosts and servers may come, jails and users may not. nil
	// refuses all, as does a connection without TLS.
	Allow func(*tls.ConnectionState) error

	// Peer names a peer on the Board; nil names it by its address.
	Peer func(*tls.ConnectionState) string

	MaxStreams     int           // at once, 0 is 4; a peer above it is told to come again
	BytesPerSecond int64         // of all streams together, 0 is no limit; at least 64 KiB are granted
	Stall          time.Duration // a peer that takes nothing for so long is cut off, 0 is 30 s
	Board          *Board        // of the host, where streams stand that run; nil is one of its own
	Metrics        *Metrics      // may be nil
	Log            *slog.Logger  // nil discards
}

// NewServer returns a Server.
func NewServer(c ServerConfig) *Server {
	s := &Server{store: c.Store, allow: c.Allow, log: c.Log, limit: newLimiter(c.BytesPerSecond), stall: c.Stall, metrics: c.Metrics, board: c.Board, peer: c.Peer, mux: http.NewServeMux()}
	if s.board == nil {
		s.board = NewBoard()
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.stall <= 0 {
		s.stall = 30 * time.Second
	}
	if s.metrics == nil {
		s.metrics = NewMetrics(nil)
	}
	slots := c.MaxStreams
	if slots <= 0 {
		slots = 4
	}
	s.slots = make(chan struct{}, slots)
	s.mux.HandleFunc("GET "+pathImage, s.image)
	s.mux.HandleFunc("GET "+pathSnapshots, s.snapshots)
	s.mux.HandleFunc("POST "+pathSnapshots, s.take)
	s.mux.HandleFunc("DELETE "+pathSnapshots, s.drop)
	s.mux.HandleFunc("GET "+pathStream, s.slot(s.stream))
	s.mux.HandleFunc("GET "+pathChunks, s.slot(s.index))
	s.mux.HandleFunc("POST "+pathChunks, s.slot(s.chunks))
	return s
}

// ServeHTTP checks who asks, and answers.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	err := errors.New("this host lets no peers in")
	switch {
	case r.TLS == nil:
		err = errors.New("no TLS")
	case s.allow != nil:
		err = s.allow(r.TLS)
	}
	if err != nil {
		s.log.Warn("peer refused", "peer", r.RemoteAddr, "path", r.URL.Path, "err", err)
		answerError(w, http.StatusForbidden, CodeRefused, err)
		return
	}
	s.mux.ServeHTTP(w, r)
}

// slot lets at most MaxStreams requests that read whole streams run at once.
func (s *Server) slot(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case s.slots <- struct{}{}:
			defer func() { <-s.slots }()
			next(w, r)
		default:
			answerError(w, http.StatusServiceUnavailable, CodeBusy, fmt.Errorf("it sends %d streams already", cap(s.slots)))
		}
	}
}

func (s *Server) image(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	m, err := s.manifest(r.Context(), q.Get("key"))
	if err == nil {
		m = s.whole(m, zfssync.Format(q.Get("reads")))
	}
	s.answer(w, m, err)
}

func (s *Server) manifest(ctx context.Context, key string) (Manifest, error) {
	img, err := s.store.Image(key)
	if err != nil {
		return Manifest{}, err
	}
	top, err := s.store.Layer(img.Top)
	if err != nil {
		return Manifest{}, err
	}
	m := Manifest{Image: img}
	for _, k := range slices.Backward(append([]string{img.Top}, top.Parents...)) {
		list, err := s.store.Snapshots(ctx, zfssync.Object{Kind: zfssync.KindLayer, Name: k})
		if err != nil {
			return m, err
		}
		if len(list) == 0 {
			return m, fmt.Errorf("layer %s of image %s: %w", k, key, zfssync.ErrNotFound)
		}
		m.Layers = append(m.Layers, list[0])
	}
	return m, nil
}

// objectOf reads kind and name; the store checks names at its door.
func objectOf(q url.Values) (zfssync.Object, error) {
	o := zfssync.Object{Kind: zfssync.Kind(q.Get("kind")), Name: q.Get("name")}
	if !slices.Contains([]zfssync.Kind{zfssync.KindLayer, zfssync.KindVolume, zfssync.KindJail}, o.Kind) || o.Name == "" {
		return o, fmt.Errorf("object %q %q: want kind layer, volume or jail, and a name", o.Kind, o.Name)
	}
	return o, nil
}

func (s *Server) snapshots(w http.ResponseWriter, r *http.Request) {
	o, err := objectOf(r.URL.Query())
	if err != nil {
		s.answer(w, nil, err)
		return
	}
	list, err := s.store.Snapshots(r.Context(), o)
	s.answer(w, list, err)
}

// temporary reads an object and the name of a snapshot that a peer may make and remove.
func temporary(q url.Values) (zfssync.Object, string, error) {
	o, err := objectOf(q)
	name := q.Get("snapshot")
	if err == nil && !strings.HasPrefix(name, TemporaryPrefix) {
		err = &RemoteError{Code: CodeRefused, Message: fmt.Sprintf("snapshot %q: a peer may take and drop only those that begin with %q", name, TemporaryPrefix)}
	}
	return o, name, err
}

func (s *Server) take(w http.ResponseWriter, r *http.Request) {
	o, name, err := temporary(r.URL.Query())
	var snap zfssync.Snapshot
	if err == nil {
		snap, err = s.store.TakeSnapshot(r.Context(), o, name)
	}
	s.answer(w, snap, err)
}

func (s *Server) drop(w http.ResponseWriter, r *http.Request) {
	o, name, err := temporary(r.URL.Query())
	if err == nil {
		err = s.store.DropSnapshot(r.Context(), o, name)
	}
	s.answer(w, struct{}{}, err)
}

func (s *Server) answer(w http.ResponseWriter, v any, err error) {
	if err != nil {
		s.refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		s.log.Debug("peer went before its answer", "err", err)
	}
}

func (s *Server) refuse(w http.ResponseWriter, err error) {
	code, status := codeOf(err), http.StatusInternalServerError
	switch code {
	case CodeNotFound:
		status = http.StatusNotFound
	case CodeRefused:
		status = http.StatusForbidden
	case CodeFormat, CodePrefix:
		status = http.StatusConflict
	}
	answerError(w, status, code, err)
}

func answerError(w http.ResponseWriter, status int, code string, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(encodeError(code, err)) // the peer may be gone: there is nobody else to tell
}

func encodeError(code string, err error) []byte {
	text := err.Error()
	if len(text) > 1000 {
		text = text[:1000] + "..."
	}
	b, jerr := json.Marshal(RemoteError{Code: code, Message: text})
	if jerr != nil {
		return []byte(`{"code":"failed"}`)
	}
	return b
}
