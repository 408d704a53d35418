package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// partSize is how much of a saved State one log entry brings, in bytes: base64
// makes it a third more, and an entry has 8 MiB.
const partSize = 4 << 20

// saveSnapshot holds all that was acknowledged before the request, unless
// ?stale says that what this host has is good enough.
func (s *Server) saveSnapshot(r *request) error {
	if s.cfg.Reads != nil && !r.URL.Query().Has("stale") {
		if err := s.cfg.Reads.Consistent(r.Context()); err != nil {
			return err
		}
	}
	st := s.cfg.Log.State()
	info := InfoOf(st)
	info.SavedAt, info.Version, info.SavedBy = time.Now().UTC().Truncate(time.Second), s.cfg.Version, string(s.cfg.Host.ID())
	if h, ok := st.Hosts.Get(info.SavedBy); ok {
		info.SavedBy = h.Name
	}
	r.w.Header().Set("Content-Type", snapshotMedia)
	r.w.WriteHeader(http.StatusOK)
	return WriteSnapshot(r.w, st, info)
}

// restoreSnapshot looks at the whole file before the first entry is made.
func (s *Server) restoreSnapshot(r *request) error {
	foreign, err := flagParam(r.Request, "foreign")
	if err != nil {
		return err
	}
	var payload bytes.Buffer
	info, err := ReadSnapshot(r.Body, &payload)
	if err == nil {
		err = sameState(payload.Bytes(), info)
	}
	if err != nil {
		return fail("invalid", "snapshot", "rexctl snapshot inspect FILE", "%v; nothing was changed", err)
	}
	if own := s.cfg.Log.State().Cluster.ID; info.Cluster != own && !foreign {
		return fail("conflict", "snapshot", "rexctl snapshot restore --foreign FILE",
			"it is of cluster %s, and this is %s. With --foreign what it declares becomes the truth here, under this cluster's own CA, hosts and tokens; nothing was changed", info.Cluster, own)
	}
	done, err := s.restore(r.Context(), r.by, payload.Bytes(), foreign)
	if err != nil {
		return err
	}
	content := s.cfg.Log.State().ContentHash()
	return r.reply(done.Index, Restored{Index: done.Index, Content: hex.EncodeToString(content[:]), From: info})
}

// sameState reads the State and holds it against what the file says of it.
func sameState(payload []byte, info SnapshotInfo) error {
	st, err := fsm.Read(bytes.NewReader(payload))
	if err != nil {
		return err
	}
	if now := InfoOf(st); now.Hash != info.Hash || now.Cluster != info.Cluster || now.Index != info.Index {
		return fmt.Errorf("the State in it has the hash %.16s and index %d, the file says %.16s and %d", now.Hash, now.Index, info.Hash, info.Index)
	}
	return nil
}

func (s *Server) restore(ctx context.Context, by string, payload []byte, foreign bool) (fsm.Applied, error) {
	sum := sha256.Sum256(payload)
	id := hex.EncodeToString(sum[:])
	parts := 0
	for rest := payload; len(rest) > 0; parts++ {
		n := min(len(rest), partSize)
		if _, err := s.cfg.Log.Propose(ctx, by, fsm.RestorePart{ID: id, N: parts, Data: rest[:n]}); err != nil {
			return fsm.Applied{}, errors.Join(fmt.Errorf("restore: part %d: %w", parts, err), s.dropParts(ctx, by, id))
		}
		rest = rest[n:]
	}
	done, err := s.cfg.Log.Propose(ctx, by, fsm.RestoreState{ID: id, Parts: parts, Foreign: foreign})
	if err != nil {
		return done, errors.Join(err, s.dropParts(ctx, by, id))
	}
	return done, nil
}

// dropParts forgets what was sent already. Where that fails as well, the next
// restore does it.
func (s *Server) dropParts(ctx context.Context, by, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if _, err := s.cfg.Log.Propose(ctx, by, fsm.RestoreState{ID: id, Drop: true}); err != nil {
		s.log.Warn("parts of a snapshot wait in the State until the next restore", "err", err)
	}
	return nil
}
