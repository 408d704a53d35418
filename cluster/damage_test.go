package cluster

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

// Case 13 of the failure list: raft would begin again at the snapshot and
// lose acknowledged entries without a word.
func TestCase13LostMemoryIsNoticed(t *testing.T) {
	t.Parallel()
	for _, gone := range []string{"raft/raft.db", "raft/log-0000000000000001", "identity.json", "guard.json"} {
		t.Run(gone, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			n := open(t, dir)
			fill(t, n, 10)
			if err := n.Snapshot(); err != nil {
				t.Fatal(err)
			}
			propose(t, n, host(100)) // is in the log alone
			if err := errors.Join(n.guard.touch(n.raft.AppliedIndex()), n.Close()); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(filepath.Join(dir, gone)); err != nil {
				t.Fatal(err)
			}
			if _, err := tryOpen(t, dir); !errors.Is(err, ErrAmnesia) {
				t.Errorf("without %s: got %v, want ErrAmnesia", gone, err)
			}
		})
	}
}

func TestAnOlderLogIsNotTakenForTheTruth(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := open(t, dir)
	fill(t, n, 5)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	raftDir, old := filepath.Join(dir, "raft"), filepath.Join(t.TempDir(), "raft")
	if err := os.CopyFS(old, os.DirFS(raftDir)); err != nil {
		t.Fatal(err)
	}
	n = open(t, dir)
	for i := 5; i < 20; i++ {
		propose(t, n, host(i))
	}
	if err := errors.Join(n.guard.touch(n.raft.AppliedIndex()), n.Close(), os.RemoveAll(raftDir), os.CopyFS(raftDir, os.DirFS(old))); err != nil {
		t.Fatal(err)
	}
	if _, err := tryOpen(t, dir); !errors.Is(err, ErrAmnesia) {
		t.Errorf("got %v, want ErrAmnesia", err)
	}
}

// Case 12: one line of cause and a hint, no panic trace.
func TestCase12DamagedLogIsSaidInOneLine(t *testing.T) {
	t.Parallel()
	damage := map[string]func([]byte) []byte{
		"cut in half": func(b []byte) []byte { return b[:len(b)/2] },
		"zeroed head": func(b []byte) []byte { clear(b[:8192]); return b },
		"empty":       func([]byte) []byte { return nil },
		"flipped body": func(b []byte) []byte {
			for i := 8192; i < len(b); i += 37 {
				b[i] ^= 0xff
			}
			return b
		},
	}
	for _, name := range []string{"raft.db", "log-0000000000000001"} {
		for what, spoil := range damage {
			t.Run(name+" "+what, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				n := open(t, dir)
				fill(t, n, 200)
				if err := errors.Join(n.guard.touch(n.raft.AppliedIndex()), n.Close()); err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(dir, "raft", name)
				b, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, spoil(b), 0o600); err != nil {
					t.Fatal(err)
				}
				_, err = tryOpen(t, dir)
				// Where no whole batch is left behind the damage, only the guard knows that there was one.
				named := err != nil && (strings.Contains(err.Error(), name) || errors.Is(err, ErrAmnesia))
				if !named || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "goroutine") {
					t.Errorf("got %v; want one line that says that %s is damaged", err, name)
				}
			})
		}
	}
}

// Earlier versions kept the entries in raft.db.
func TestADirectoryOfAnEarlierVersionGoesOn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := open(t, dir)
	fill(t, n, 50)
	want := n.State()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	asBefore(t, filepath.Join(dir, "raft"))
	n = open(t, dir)
	lead(t, n)
	if got := n.State(); got.Index < want.Index || got.Hosts.Len() != want.Hosts.Len() {
		t.Fatalf("it has index %d and %d hosts, want %d and %d", got.Index, got.Hosts.Len(), want.Index, want.Hosts.Len())
	}
	propose(t, n, host(200))
	want = n.State()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n = open(t, dir)
	lead(t, n)
	if got := n.State(); got.Chain != want.Chain {
		t.Errorf("after one more entry and a restart the chain is %x, want %x", got.Chain, want.Chain)
	}
	if _, err := n.Verify(t.Context(), 0); err != nil {
		t.Error(err)
	}
}

// asBefore moves the entries of segments to raft.db.
func asBefore(t *testing.T, raftDir string) {
	t.Helper()
	log, err := openStore(raftDir, nil)
	if err != nil {
		t.Fatal(err)
	}
	first, err := log.FirstIndex()
	last, err2 := log.LastIndex()
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	var all []*raft.Log
	for i := first; i <= last; i++ {
		all = append(all, new(raft.Log))
		if err := log.GetLog(i, all[len(all)-1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := raftboltdb.New(raftboltdb.Options{Path: filepath.Join(raftDir, "raft.db"), MsgpackUseNewTimeFormat: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.StoreLogs(all), db.Close()); err != nil {
		t.Fatal(err)
	}
	segments, err := filepath.Glob(filepath.Join(raftDir, "log-*"))
	if err != nil || len(segments) == 0 {
		t.Fatalf("no segments: %v", err)
	}
	for _, s := range segments {
		if err := os.Remove(s); err != nil {
			t.Fatal(err)
		}
	}
}
