package raftlog

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// small is a segment that a few batches fill.
const small = 4 << 10

// memory is a Base that outlives the Log over it, as a file does.
type memory struct {
	*raft.InmemStore
	fails bool // DeleteRange does nothing, as when the program ends before it
}

func newBase() *memory { return &memory{InmemStore: raft.NewInmemStore()} }

func (m *memory) Close() error { return nil }

func (m *memory) DeleteRange(from, to uint64) error {
	if m.fails {
		return errors.New("not now")
	}
	return m.InmemStore.DeleteRange(from, to)
}

// FirstIndex hides that InmemStore forgets nothing when it becomes empty.
func (m *memory) FirstIndex() (uint64, error) {
	first, err := m.InmemStore.FirstIndex()
	if last, _ := m.InmemStore.LastIndex(); first > last {
		return 0, err
	}
	return first, err
}

// LastIndex is 0 for none.
func (m *memory) LastIndex() (uint64, error) {
	if first, _ := m.FirstIndex(); first == 0 {
		return 0, nil
	}
	return m.InmemStore.LastIndex()
}

func reopen(t testing.TB, dir string, base Base) *Log {
	t.Helper()
	l, err := openSized(dir, base, small, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func closed(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// entry is one whose bytes depend on index and term.
func entry(index, term uint64) *raft.Log {
	l := &raft.Log{Index: index, Term: term, Type: raft.LogType(index % 3), Data: fmt.Appendf(nil, "entry %d of term %d", index, term)}
	if index%5 == 0 {
		l.Data = nil
	}
	if index%7 == 0 {
		l.Extensions = []byte{byte(index), 0, 1}
	}
	if index%2 == 0 {
		l.AppendedAt = time.Unix(int64(index), 12345)
	}
	return l
}

func row(first, last, term uint64) (out []*raft.Log) {
	for i := first; i <= last; i++ {
		out = append(out, entry(i, term))
	}
	return out
}

func store(t testing.TB, l *Log, first, last, term uint64) {
	t.Helper()
	if err := l.StoreLogs(row(first, last, term)); err != nil {
		t.Fatal(err)
	}
}

func remove(t testing.TB, l *Log, from, to uint64) {
	t.Helper()
	if err := l.DeleteRange(from, to); err != nil {
		t.Fatal(err)
	}
}

// content is what a log holds, by index.
type content map[uint64]*raft.Log

func (c content) span() (first, last uint64) {
	if len(c) == 0 {
		return 0, 0
	}
	keys := slices.Sorted(maps.Keys(c))
	return keys[0], keys[len(keys)-1]
}

// differs says where l is not what c says, "" if nowhere.
func (c content) differs(l raft.LogStore) string {
	wantFirst, wantLast := c.span()
	first, err := l.FirstIndex()
	last, err2 := l.LastIndex()
	if err := errors.Join(err, err2); err != nil || first != wantFirst || last != wantLast {
		return fmt.Sprintf("it has %d to %d (%v), want %d to %d", first, last, err, wantFirst, wantLast)
	}
	for index, want := range c {
		var got raft.Log
		if err := l.GetLog(index, &got); err != nil {
			return fmt.Sprintf("entry %d: %v", index, err)
		}
		if !got.AppendedAt.Equal(want.AppendedAt) {
			return fmt.Sprintf("entry %d was appended at %s, want %s", index, got.AppendedAt, want.AppendedAt)
		}
		if got.Index != want.Index || got.Term != want.Term || got.Type != want.Type || string(got.Data) != string(want.Data) || string(got.Extensions) != string(want.Extensions) {
			return fmt.Sprintf("entry %d is %+v, want %+v", index, got, *want)
		}
	}
	for _, index := range []uint64{0, wantFirst - 1, wantLast + 1, wantLast + 1000} {
		if c[index] != nil {
			continue
		}
		if err := l.GetLog(index, new(raft.Log)); !errors.Is(err, raft.ErrLogNotFound) {
			return fmt.Sprintf("entry %d, which is not there: %v", index, err)
		}
	}
	return ""
}

func (c content) want(t testing.TB, l raft.LogStore) {
	t.Helper()
	if why := c.differs(l); why != "" {
		t.Fatal(why)
	}
}

func has(first, last, term uint64) content {
	c := content{}
	for _, l := range row(first, last, term) {
		c[l.Index] = l
	}
	return c
}

// image is the files of dir.
func image(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(p)] = b
	}
	return out
}

// lay makes dir hold these files and no other.
func lay(t testing.TB, dir string, files map[string][]byte) {
	t.Helper()
	for name := range image(t, dir) {
		if files[name] == nil {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
