package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// Past is what the log still knows of former States.
type Past interface {
	// StateAt is the State as it was after the entry at index. When the log no
	// longer reaches back so far, the error has a method Oldest() uint64.
	StateAt(ctx context.Context, index uint64) (*fsm.State, error)
	// IndexAt is the index of the last entry that was made at t or before.
	IndexAt(ctx context.Context, t fsm.Time) (uint64, error)
	// Verify applies again what the log still has, up to index (0: all), and
	// compares with what was kept. Host is not filled in.
	Verify(ctx context.Context, index uint64) (Audit, error)
}

// rebuilds bounds how many past States are rebuilt at once: each may hold as
// much memory as the present one.
const rebuilds = 2

// lookBack finds the State that ?at asks for. A route that does not answer
// from the State, or changes it, has no past.
func (s *Server) lookBack(rt route, r *request) error {
	at := r.URL.Query().Get("at")
	if at == "" {
		return nil
	}
	if !rt.past {
		return fail("bad_request", "", "rexctl history", "%s %s answers for now only: it takes no at=", rt.method, rt.pattern)
	}
	st, err := s.stateAt(r, at)
	if err != nil {
		return err
	}
	r.past = st
	return nil
}

// stateAt is the State at a log index or at a time (RFC 3339).
func (s *Server) stateAt(r *request, at string) (*fsm.State, error) {
	if s.cfg.Past == nil {
		return nil, fail("unavailable", "", "", "this daemon keeps no past")
	}
	select {
	case s.past <- struct{}{}:
		defer func() { <-s.past }()
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	index, err := s.indexOf(r.Context(), at)
	if err != nil {
		return nil, forgotten(err)
	}
	if now := s.cfg.Log.State().Index; index > now {
		return nil, fail("bad_request", "", "rexctl status names the newest index", "index %d is not yet: the log is at %d", index, now)
	}
	st, err := s.cfg.Past.StateAt(r.Context(), index)
	return st, forgotten(err)
}

// forgotten says so of a past that is no longer kept.
func forgotten(err error) error {
	var old interface{ Oldest() uint64 }
	if errors.As(err, &old) {
		return fail("too_old", "", fmt.Sprintf("index %d or later", old.Oldest()), "what was before index %d of the log is no longer kept", old.Oldest())
	}
	return err
}

func (s *Server) indexOf(ctx context.Context, at string) (uint64, error) {
	if index, err := strconv.ParseUint(at, 10, 64); err == nil {
		return index, nil
	}
	t, err := time.Parse(time.RFC3339Nano, at)
	if err != nil {
		return 0, fail("bad_request", "", "", "at=%q is neither an index of the log nor a time as 2026-01-31T15:04:05Z", at)
	}
	return s.cfg.Past.IndexAt(ctx, fsm.TimeOf(t))
}

// state is what a request that may look back answers from.
func (s *Server) state(r *request) *fsm.State {
	if r.past != nil {
		return r.past
	}
	return s.cfg.Log.State()
}

// pAt is a parameter of every route that answers from the State.
var pAt = param{"at", "string", "as it was at this index of the log, or at this time (RFC 3339)"}

// withPast marks the routes that answer from the State alone.
func withPast(list []route) []route {
	for i := range list {
		if rt := &list[i]; rt.method == http.MethodGet && pasts[rt.pattern] {
			rt.past = true
			rt.query = append(append([]param(nil), rt.query...), pAt)
		}
	}
	return list
}

var pasts = map[string]bool{
	"/v1/wishes": true, "/v1/wishes/{name}": true, "/v1/jails": true, "/v1/jails/{name}": true,
	"/v1/networks": true, "/v1/networks/{name}": true, "/v1/leases": true, "/v1/images": true, "/v1/images/{name}": true, "/v1/builds": true,
	"/v1/bases": true, "/v1/signers": true, "/v1/dns/records": true, "/v1/certs": true, "/v1/certs/{jail}": true, "/v1/services": true,
	"/v1/hosts": true, "/v1/hosts/{name}": true, "/v1/tokens": true,
}
