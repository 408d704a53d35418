package transfer

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/rexcarcer/rexcarcer/zfssync"
)

// named is a snapshot that a request asks for, and how.
type named struct {
	object zfssync.Object
	snap   zfssync.Snapshot
	opt    zfssync.SendOptions
	top    string // instead: the layer that is sent with all below it as one, see whole.go
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
		if n, ok, err := s.wholeOf(ctx, o, guid); ok || err != nil {
			return n, err
		}
		return named{}, fmt.Errorf("%s has no snapshot of guid %.80q: %w", o, guid, zfssync.ErrNotFound)
	}
	return named{object: o, snap: list[i], opt: zfssync.SendOptions{Snapshot: list[i].Name, From: q.Get("from"), Resume: q.Get("resume")}}, nil
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
	s.send(r, out, n, func() error { return s.write(r.Context(), n, out) })
}

// send answers with what write writes to out: the peer is told what went wrong as long as it listens.
func (s *Server) send(r *http.Request, out *frameWriter, n named, write func() error) {
	e := &entry{object: n.object, snapshot: n.snap.Name, sending: true}
	if n.opt.From == "" {
		e.total = n.snap.Bytes
	}
	peer := r.RemoteAddr
	if s.peer != nil {
		peer = s.peer(r.TLS)
	}
	e.from(peer)
	defer s.board.add(e)()
	out.entry = e
	var err error
	defer s.metrics.stream("out", time.Now(), &err)()
	if err = out.end(out.run(write)); err != nil {
		s.log.Warn("stream ended early", "object", n.object.String(), "snapshot", n.snap.Name, "to", peer, "bytes", out.total, "err", err)
		return
	}
	s.log.Info("stream sent", "object", n.object.String(), "snapshot", n.snap.Name, "to", peer, "bytes", out.total)
}
