package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"

	"github.com/rexcarcer/rexcarcer/cluster/raftlog"
	"github.com/rexcarcer/rexcarcer/fsm"
)

// Identity is who this host is, for the whole life of its data directory.
type Identity struct {
	Host fsm.HostID `json:"host"`
}

// ErrAmnesia says that a data directory has lost part of its memory. Starting
// from the rest would lose acknowledged entries in silence: raft begins again
// at the snapshot, with a lower term (measured, raft 1.7.3).
var ErrAmnesia = errors.New("this data directory has lost its memory")

const amnesiaHint = "restore the missing file, or wipe the directory and join as a new host"

// HostID is the id that belongs to a data directory. It makes one in an empty
// directory.
func HostID(dir string) (fsm.HostID, error) {
	id, err := openIdentity(dir, "", newULID)
	return id.Host, err
}

func openIdentity(dir string, want fsm.HostID, newID func() string) (Identity, error) {
	path := filepath.Join(dir, "identity.json")
	b, err := os.ReadFile(path)
	if err == nil {
		var id Identity
		if err := json.Unmarshal(b, &id); err != nil || id.Host == "" {
			return Identity{}, fmt.Errorf("%w: %s is damaged; %s", ErrAmnesia, path, amnesiaHint)
		}
		if want != "" && want != id.Host {
			return Identity{}, fmt.Errorf("%s belongs to host %s, not to %s: use another data directory", dir, id.Host, want)
		}
		return id, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return Identity{}, fmt.Errorf("read identity: %w", err)
	}
	if left := leftovers(dir); left != "" {
		return Identity{}, fmt.Errorf("%w: identity.json is gone but %s is there; %s", ErrAmnesia, left, amnesiaHint)
	}
	id := Identity{Host: want}
	if want == "" {
		id.Host = fsm.HostID("h-" + newID())
	}
	b, err = json.Marshal(id)
	if err != nil {
		return Identity{}, err
	}
	if err := renameio.WriteFile(path, b, 0o600); err != nil {
		return Identity{}, fmt.Errorf("write identity: %w", err)
	}
	return id, nil
}

// leftovers names what shows that the directory was in use, "" if nothing does.
func leftovers(dir string) string {
	for _, pattern := range []string{"raft/raft.db", "raft/log-*", "raft/snapshots/*", "guard.json", "archive/*"} {
		if found, _ := filepath.Glob(filepath.Join(dir, pattern)); len(found) > 0 { // the patterns are valid
			return pattern
		}
	}
	return ""
}

// guard remembers, outside raft/, the highest term and index that were
// durable, so that a log from before is not taken for the truth.
type guard struct {
	path  string
	store *raftlog.Log
	seen  mark
}

type mark struct {
	Term  uint64 `json:"term"`
	Index uint64 `json:"index"`
}

func openGuard(dir string, store *raftlog.Log, snaps raft.SnapshotStore) (*guard, error) {
	g := &guard{path: filepath.Join(dir, "guard.json"), store: store}
	now, err := g.current()
	if err != nil {
		return nil, err
	}
	list, err := snaps.List()
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	if len(list) > 0 {
		if now.Term < list[0].Term {
			return nil, fmt.Errorf("%w: the newest snapshot is of term %d but the log only knows term %d; %s", ErrAmnesia, list[0].Term, now.Term, amnesiaHint)
		}
		now.Index = max(now.Index, list[0].Index)
	}
	b, err := os.ReadFile(g.path)
	if errors.Is(err, fs.ErrNotExist) {
		if now.Index > 0 {
			return nil, fmt.Errorf("%w: guard.json is gone but the log has %d entries; %s", ErrAmnesia, now.Index, amnesiaHint)
		}
		return g, g.write(now)
	}
	if err != nil {
		return nil, fmt.Errorf("read guard: %w", err)
	}
	if err := json.Unmarshal(b, &g.seen); err != nil {
		return nil, fmt.Errorf("%w: %s is damaged; %s", ErrAmnesia, g.path, amnesiaHint)
	}
	if now.Term < g.seen.Term || now.Index < g.seen.Index {
		return nil, fmt.Errorf("%w: it had reached term %d, index %d, but the log has term %d, index %d; %s",
			ErrAmnesia, g.seen.Term, g.seen.Index, now.Term, now.Index, amnesiaHint)
	}
	return g, nil
}

// current is what the log holds durably right now.
func (g *guard) current() (mark, error) {
	term, err := g.store.GetUint64([]byte("CurrentTerm"))
	if err != nil && !errors.Is(err, raftboltdb.ErrKeyNotFound) {
		return mark{}, fmt.Errorf("read term from raft.db: %w", err)
	}
	last, err := g.store.LastIndex()
	if err != nil {
		return mark{}, fmt.Errorf("read the last index of the log: %w", err)
	}
	return mark{Term: term, Index: last}, nil
}

// touch writes the current mark with fsync; it is the watchdog's probe too.
// The last index of a follower can shrink when a leader overwrites entries
// that were never committed, so only the committed index is remembered.
func (g *guard) touch(committed uint64) error {
	now, err := g.current()
	if err != nil {
		return err
	}
	now.Index = min(now.Index, committed)
	return g.write(mark{Term: max(now.Term, g.seen.Term), Index: max(now.Index, g.seen.Index)})
}

func (g *guard) write(m mark) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(g.path, b, 0o600); err != nil {
		return fmt.Errorf("write guard: %w", err)
	}
	g.seen = m
	return nil
}
