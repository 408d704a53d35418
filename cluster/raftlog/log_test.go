package raftlog

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"
)

// Whatever is asked of it, with a restart at any moment, it holds what a map would.
func TestALogIsWhatAModelSays(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		dir := t.TempDir()
		base, want, term := newBase(), content{}, uint64(1)
		if n := rapid.Uint64Range(0, 30).Draw(rt, "entries of an earlier version"); n > 0 {
			want = has(5, 4+n, 1)
			if err := base.StoreLogs(row(5, 4+n, 1)); err != nil {
				t.Fatal(err)
			}
		}
		l := reopen(t, dir, base)
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			first, last := want.span()
			switch rapid.IntRange(0, 9).Draw(rt, "step") {
			case 0, 1, 2, 3, 4:
				n := rapid.Uint64Range(1, 30).Draw(rt, "entries")
				store(t, l, last+1, last+n, term)
				for _, e := range row(last+1, last+n, term) {
					want[e.Index] = e
				}
			case 5: // a new leader's entries go over those of the old one
				if from := rapid.Uint64Range(first, last).Draw(rt, "void from"); from > 0 {
					remove(t, l, from, last)
					for i := from; i <= last; i++ {
						delete(want, i)
					}
				}
				term++
			case 6, 7: // compaction
				to := rapid.Uint64Range(first, last).Draw(rt, "forget up to")
				remove(t, l, first, to)
				for i := first; i <= to; i++ {
					delete(want, i)
				}
			case 8: // a snapshot came, and the program ended before the old entries were removed
				hole := last + rapid.Uint64Range(2, 50).Draw(rt, "hole")
				store(t, l, hole, hole+3, term)
				want = has(hole, hole+3, term)
			case 9:
				closed(t, l)
				l = reopen(t, dir, base)
			}
			want.want(t, l)
		}
		closed(t, l)
		want.want(t, reopen(t, dir, base))
	})
}

func TestAnEarlierVersionsLogGoesOn(t *testing.T) {
	t.Parallel()
	dir, base := t.TempDir(), newBase()
	if err := base.StoreLogs(row(10, 20, 1)); err != nil {
		t.Fatal(err)
	}
	l := reopen(t, dir, base)
	has(10, 20, 1).want(t, l)
	store(t, l, 21, 25, 1)
	has(10, 25, 1).want(t, l)
	if last, _ := base.LastIndex(); last != 20 {
		t.Errorf("the database has entries up to %d, want 20: new ones go to segments", last)
	}
	// The program ends after compaction was recorded, before the database heard of it.
	base.fails = true
	if err := l.DeleteRange(10, 22); err == nil {
		t.Error("an error of the database was swallowed")
	}
	closed(t, l)
	base.fails = false
	l = reopen(t, dir, base)
	has(23, 25, 1).want(t, l)
	if first, _ := base.FirstIndex(); first != 0 {
		t.Errorf("the database still has entry %d", first)
	}
}

func TestCompactionRemovesSegments(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := reopen(t, dir, newBase())
	for i := uint64(1); i <= 1000; i += 10 {
		store(t, l, i, i+9, 1)
	}
	before := len(image(t, dir))
	remove(t, l, 1, 990)
	if after := len(image(t, dir)); before < 10 || after > 3 {
		t.Errorf("%d files before, %d after, want many and at most 3", before, after)
	}
	has(991, 1000, 1).want(t, l)
	closed(t, l)
	has(991, 1000, 1).want(t, reopen(t, dir, newBase()))
}

func TestAnEntryLargerThanASegment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := reopen(t, dir, newBase())
	store(t, l, 1, 60, 1)
	big := &raft.Log{Index: 61, Term: 1, Data: []byte(strings.Repeat("x", 3*small))}
	if err := l.StoreLog(big); err != nil {
		t.Fatal(err)
	}
	store(t, l, 62, 70, 1)
	closed(t, l)
	l = reopen(t, dir, newBase())
	want := has(1, 70, 1)
	want[61] = big
	want.want(t, l)
}

func TestEntriesThatDoNotFollowAreRefused(t *testing.T) {
	t.Parallel()
	l := reopen(t, t.TempDir(), newBase())
	store(t, l, 1, 5, 1)
	for name, logs := range map[string][]*raft.Log{
		"there already": row(5, 6, 1),
		"a hole":        {entry(6, 1), entry(8, 1)},
		"index 0":       {entry(0, 1)},
	} {
		if err := l.StoreLogs(logs); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := l.DeleteRange(2, 3); err == nil {
		t.Error("a hole was made")
	}
	has(1, 5, 1).want(t, l)
}

// A full disk: what was refused leaves nothing behind that could be read later.
func TestAWriteThatFailedIsNeverReadAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := reopen(t, dir, newBase())
	store(t, l, 1, 5, 1)
	s := l.newest()
	good, end := s.file, s.end
	// The batch reaches the disk, the news of it does not.
	store(t, l, 6, 12, 1)
	l.cut(6)
	s.end, l.dirty = end, s.end-end
	bad, err := os.Open(s.path)
	if err != nil {
		t.Fatal(err)
	}
	s.file = bad
	if err := l.StoreLogs(row(6, 7, 2)); err == nil {
		t.Fatal("a write to a file that cannot be written went well")
	}
	has(1, 5, 1).want(t, l)
	s.file = good
	if err := bad.Close(); err != nil {
		t.Fatal(err)
	}
	store(t, l, 6, 7, 3)
	want := has(1, 5, 1)
	want[6], want[7] = entry(6, 3), entry(7, 3)
	want.want(t, l)
	closed(t, l)
	want.want(t, reopen(t, dir, newBase()))
}

func TestAfterCloseNothingIsWritten(t *testing.T) {
	t.Parallel()
	l := reopen(t, t.TempDir(), newBase())
	closed(t, l)
	if err := l.StoreLogs(row(1, 2, 1)); err == nil {
		t.Error("StoreLogs after Close: no error")
	}
	if err := l.DeleteRange(1, 2); err == nil {
		t.Error("DeleteRange after Close: no error")
	}
}

func TestTheSegmentsDirectoryHoldsNothingElse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, halfMade), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	closed(t, reopen(t, dir, newBase()))
	if err := os.WriteFile(filepath.Join(dir, "log-old"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, newBase(), nil); err == nil || !strings.Contains(err.Error(), "log-old") {
		t.Errorf("got %v, want a word about log-old", err)
	}
}
