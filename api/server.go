package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// Limits of a request.
const (
	maxBody       = 1 << 20        // bytes, where a route says nothing else
	maxWish       = 8 << 20        // bytes of a wish: one log entry must hold it
	maxContext    = 8 << 30        // bytes of a packed build context
	maxUpload     = 64<<30 + 2<<20 // bytes of a base that is sent
	maxHeader     = 64 << 10       // bytes
	requestTime   = time.Minute
	streamStall   = 30 * time.Second // a stream's peer must take something in this time
	keepAlive     = 15 * time.Second // between signs of life on a silent stream
	maxStreams    = 4096
	shutdownGrace = 5 * time.Second
)

// Config is what a Server is made of. Log, Host, Plan and Identify are needed.
type Config struct {
	Log      Log
	Host     Host
	Plan     Planner
	Identify Identify

	Destroy  DestroyPlanner                 // nil: Plan is asked with an empty wish
	Explain  Explainer                      // nil: what the State says is all
	Place    Placer                         // nil: nobody can say
	Guess    Guess                          // nil: the same
	Level    Leveller                       // nil: the same
	Hinders  Hinders                        // nil: a jail may move to any host
	Live     func() map[fsm.HostID]HostLive // nil: this host leads
	NewToken NewToken                       // nil: nobody can join this cluster
	FenceOf  func(fsm.HostID) fsm.Time      // when a host that is cut off now has stopped its jails; nil: at once
	// Elsewhere carries a request to another host, for whoever asks; nil: who
	// asks is told where to ask instead.
	Elsewhere func(host fsm.HostID, by, role string) http.Handler
	Reads     Reads // nil: this host is the cluster
	Trust     Trust // nil: there is no CA
	Past      Past  // nil: only the present is known
	Version   string
	Logger    *slog.Logger          // nil: discard
	Registry  prometheus.Registerer // nil: no metrics
}

// Server answers the API. It is immutable after New.
type Server struct {
	cfg     Config
	log     *slog.Logger
	mux     *http.ServeMux
	metrics *metrics
	streams atomic.Int64
	nextID  atomic.Uint64
	past    chan struct{} // a place for each past State that is being rebuilt
}

// New makes a Server; it starts nothing.
func New(cfg Config) (*Server, error) {
	if cfg.Log == nil || cfg.Host == nil || cfg.Plan == nil || cfg.Identify == nil {
		return nil, errors.New("api server: Log, Host, Plan and Identify are needed")
	}
	s := &Server{cfg: cfg, log: cfg.Logger, mux: http.NewServeMux(), metrics: newMetrics(), past: make(chan struct{}, rebuilds)}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if cfg.Registry != nil {
		if err := s.metrics.register(cfg.Registry); err != nil {
			return nil, fmt.Errorf("api server: %w", err)
		}
	}
	for _, rt := range routes() {
		s.mux.Handle(rt.method+" "+rt.pattern, s.serveRoute(rt))
	}
	s.mux.Handle("/", http.HandlerFunc(s.noRoute))
	return s, nil
}

// Handler is the API as an http.Handler, for tests and for a server that
// serves more than the API.
func (s *Server) Handler() http.Handler { return s.mux }

// Serve answers on l until ctx ends, then gives requests a moment to finish.
// Streams end with ctx. l is closed.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	hs := &http.Server{
		Handler:           s.mux,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    maxHeader,
		ConnContext:       ConnContext,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		select {
		case <-ctx.Done():
		case <-stop:
			return
		}
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
		defer cancel()
		if hs.Shutdown(grace) != nil {
			_ = hs.Close() // somebody did not finish in time
		}
	})
	err := hs.Serve(l)
	close(stop)
	wg.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve api on %s: %w", l.Addr(), err)
}

// request is what a handler works with.
type request struct {
	*http.Request
	w    http.ResponseWriter
	rc   *http.ResponseController
	by   string
	role string
	past *fsm.State // what ?at asks for; nil: now
}

func (s *Server) serveRoute(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, hr *http.Request) {
		rec := &recorder{ResponseWriter: w}
		begin := time.Now()
		id := strconv.FormatUint(s.nextID.Add(1), 10)
		w.Header().Set("Rex-Request-Id", id)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		r := &request{Request: hr, w: rec, rc: http.NewResponseController(w)}
		err := s.guarded(rt, r)
		if err != nil {
			s.answerError(rt, rec, id, err)
		}
		s.metrics.seen(rt, rec.status(), time.Since(begin))
	})
}

// guarded checks identity, role and limits, runs the handler and turns its
// panic into an error.
func (s *Server) guarded(rt route, r *request) (err error) {
	by, role, err := s.cfg.Identify(r.Request)
	if err != nil {
		return fail("unauthenticated", "", "use the local socket as root, or a client certificate of this cluster", "%v", err)
	}
	if !rights[role][rt.access] {
		return fail("forbidden", by, "use an identity that may do this", "role %q may not %s %s", role, rt.method, rt.pattern)
	}
	r.by, r.role = by, role
	limit := rt.limit
	if limit == 0 {
		limit = maxBody
	}
	r.Body = http.MaxBytesReader(r.w, r.Body, limit)
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler { //nolint:errorlint // a value to be compared, see its documentation
				panic(p) // the connection is to be cut, so that the peer sees that the answer has no end
			}
			err = fail("internal", "", "report this with the daemon's log", "the server met a bug: %v", p)
			s.log.Error("request panicked", "route", rt.pattern, "panic", p, "stack", stack())
		}
	}()
	if err := s.reading(r); err != nil {
		return err
	}
	if err := s.lookBack(rt, r); err != nil {
		return err
	}
	if !rt.stream {
		ctx, cancel := context.WithTimeout(r.Context(), requestTime)
		defer cancel()
		r.Request = r.WithContext(ctx)
		// A test's recorder has no deadlines; real connections have.
		_ = r.rc.SetReadDeadline(time.Now().Add(requestTime))
		_ = r.rc.SetWriteDeadline(time.Now().Add(requestTime + 10*time.Second))
		return rt.handle(s, r)
	}
	if s.streams.Add(1) > maxStreams {
		s.streams.Add(-1)
		return fail("busy", "", "close some streams", "there are %d open streams already", maxStreams)
	}
	s.metrics.streams.Inc()
	defer func() { s.streams.Add(-1); s.metrics.streams.Dec() }()
	return rt.handle(s, r)
}

func (s *Server) answerError(rt route, rec *recorder, id string, err error) {
	e := asError(err)
	if rec.code != 0 {
		// The answer has begun: the stream's own protocol told the peer.
		s.log.Debug("stream ended", "route", rt.pattern, "request", id, "err", err)
		return
	}
	if e.Code == "internal" {
		s.log.Error("request failed", "route", rt.pattern, "request", id, "err", err)
	}
	writeError(rec, e)
}

func (s *Server) noRoute(w http.ResponseWriter, r *http.Request) {
	e := fail("not_found", "", "GET /v1/openapi.json lists the routes", "no route %s %s", r.Method, r.URL.Path)
	var allow []string
	for _, m := range []string{"GET", "PUT", "POST", "DELETE"} {
		probe := r.Clone(r.Context())
		probe.Method = m
		if _, pattern := s.mux.Handler(probe); pattern != "/" {
			allow = append(allow, m)
		}
	}
	if len(allow) > 0 {
		e = fail("method_not_allowed", "", "use "+allow[0], "%s is not for %s", r.Method, r.URL.Path)
		for _, m := range allow {
			w.Header().Add("Allow", m)
		}
	}
	s.metrics.seen(route{method: "any", pattern: "none"}, e.Status, 0)
	writeError(w, e)
}

// reply answers with v as JSON, made from the State at index.
func (r *request) reply(index uint64, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode the answer to %s: %w", r.URL.Path, err)
	}
	h := r.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Rex-Index", strconv.FormatUint(index, 10))
	r.w.WriteHeader(http.StatusOK)
	_, _ = r.w.Write(append(b, '\n')) // the peer is gone if this fails
	return nil
}

// decode reads the body into v and refuses what it does not know.
func (r *request) decode(v any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		var tooBig *http.MaxBytesError
		if errors.As(err, &tooBig) {
			return err
		}
		return fail("bad_request", "", "GET /v1/openapi.json describes the body", "body is not what %s %s takes: %v", r.Method, r.URL.Path, err)
	}
	if d.More() {
		return fail("bad_request", "", "send one JSON document", "the body goes on after its document")
	}
	return nil
}
