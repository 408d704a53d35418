package transfer

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/rexcarcer/rexcarcer/zfssync"
)

// named is a snapshot that a request asks for, and how.
type named struct {
	object zfssync.Object
	snap   zfssync.Snapshot
	opt    zfssync.SendOptions
}

// find reads which snapshot is asked for; it is found by GUID alone.
func (s *Server) find(ctx context.Context, q url.Values) (named, error) {
	o, err := objectOf(q)
	if err != nil {
		return named{}, err
	}
	list, err := s.store.Snapshots(ctx, o)
	if err != nil {
		return named{}, err
	}
	guid := q.Get("guid")
	i := slices.IndexFunc(list, func(s zfssync.Snapshot) bool { return s.GUID == guid })
	if i < 0 {
		return named{}, fmt.Errorf("%s has no snapshot of guid %.80q: %w", o, guid, zfssync.ErrNotFound)
	}
	return named{o, list[i], zfssync.SendOptions{Snapshot: list[i].Name, From: q.Get("from"), Resume: q.Get("resume")}}, nil
}

func (s *Server) stream(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	n, err := s.find(r.Context(), q)
	if err != nil {
		s.refuse(w, err)
		return
	}
	out := s.writer(r.Context(), w, q.Get("zstd") == "1")
	if err := out.skip(q.Get("offset"), q.Get("prefix")); err != nil {
		s.refuse(w, err)
		return
	}
	s.finish(out, n, out.run(func() error { return s.store.Send(r.Context(), n.object, n.opt, out) }))
}

// finish ends a response: the peer is told what went wrong as long as it listens.
func (s *Server) finish(out *frameWriter, n named, err error) {
	if err = out.end(err); err != nil {
		s.log.Warn("stream ended early", "object", n.object.String(), "snapshot", n.snap.Name, "bytes", out.total, "err", err)
		s.metrics.sentFailed.Inc()
		return
	}
	s.log.Info("stream sent", "object", n.object.String(), "snapshot", n.snap.Name, "bytes", out.total)
}
