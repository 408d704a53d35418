package raftlog

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A crash leaves any part of the batch that was being written. What was there
// before is there; of the batch some first entries may be.
func TestABatchThatIsCutAtAnyByteIsLostFromThereOn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := reopen(t, dir, newBase())
	store(t, l, 1, 5, 1)
	remove(t, l, 1, 1)
	begin := l.newest().end
	name := fmt.Sprintf(namePattern, 1)
	before := image(t, dir)[name]
	store(t, l, 6, 12, 1)
	end := l.newest().end
	closed(t, l)
	after := image(t, dir)[name]
	for at := begin; at <= end; at++ {
		b := append(append([]byte(nil), after[:at]...), before[at:]...)
		check(t, map[string][]byte{name: b}, fmt.Sprintf("cut at byte %d", at))
	}
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	for range 150 { // sectors reach the disk in any order
		b := append([]byte(nil), before...)
		const sector = 64
		for at := begin / sector * sector; at < end; at += sector {
			if random.IntN(2) == 0 {
				copy(b[at:at+sector], after[at:at+sector])
			}
		}
		check(t, map[string][]byte{name: b}, fmt.Sprintf("seed %d", seed))
	}
}

// check opens files, which must have entries 2 to 5 and some first ones of 6 to
// 12, writes a shorter batch over what is left of them, and opens them again.
func check(t *testing.T, files map[string][]byte, what string) {
	t.Helper()
	dir := t.TempDir()
	lay(t, dir, files)
	l, err := openSized(dir, newBase(), small, nil)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	last, _ := l.LastIndex()
	if why := has(2, max(last, 5), 1).differs(l); why != "" || last > 12 {
		t.Fatalf("%s: %s", what, why)
	}
	want := has(2, last, 1)
	want[last+1] = entry(last+1, 2)
	store(t, l, last+1, last+1, 2)
	closed(t, l)
	if l, err = openSized(dir, newBase(), small, nil); err != nil {
		t.Fatalf("%s, then one entry: %v", what, err)
	}
	if why := want.differs(l); why != "" {
		t.Fatalf("%s, then one entry: %s", what, why)
	}
	closed(t, l)
}

// Damage is never taken for the end of the log, but in the very last batch,
// where nobody can tell it from a crash.
func TestAFlippedByteIsFound(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := reopen(t, dir, newBase())
	for i := uint64(1); i < 100; i += 3 {
		store(t, l, i, i+2, 1)
	}
	remove(t, l, 1, 50)
	remove(t, l, 98, 99)
	store(t, l, 98, 101, 2)
	newest := l.newest().path
	begin := int64(l.newest().place[98-l.newest().first].at) // of the last batch
	closed(t, l)
	files := image(t, dir)
	want := has(51, 97, 1)
	for _, e := range row(98, 101, 2) {
		want[e.Index] = e
	}
	found := 0
	for name, b := range files {
		last := strings.HasSuffix(newest, name)
		for at := 0; at < len(b); at += 11 {
			if int64(at) >= begin && last {
				break
			}
			b[at] ^= 0x5a
			lay(t, dir, files)
			l, err := openSized(dir, newBase(), small, nil)
			b[at] ^= 0x5a
			damage := (*DamageError)(nil)
			if err == nil { // behind the last record of a segment there is nothing to damage
				if why := want.differs(l); why != "" {
					t.Fatalf("%s, byte %d: %s", name, at, why)
				}
				closed(t, l)
				continue
			}
			if found++; !errors.As(err, &damage) || !strings.Contains(err.Error(), "log-") {
				t.Fatalf("%s, byte %d: %v", name, at, err)
			}
		}
	}
	if found < 300 {
		t.Errorf("%d flips were found, want at least 300: the test damages nothing", found)
	}
}

func TestWhatIsMissingIsNamed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := reopen(t, dir, newBase())
	for i := uint64(1); i < 400; i += 3 {
		store(t, l, i, i+2, 1)
	}
	closed(t, l)
	whole := image(t, dir)
	second := fmt.Sprintf(namePattern, 2)
	for what, spoil := range map[string]func(map[string][]byte){
		"a segment is gone":   func(f map[string][]byte) { delete(f, second) },
		"a segment is cut":    func(f map[string][]byte) { f[second] = f[second][:small/2] },
		"a segment is empty":  func(f map[string][]byte) { f[second] = nil },
		"a segment is zeroed": func(f map[string][]byte) { f[second] = make([]byte, small) },
		"its records are": func(f map[string][]byte) {
			f[second] = append(f[second][:segmentHead:segmentHead], make([]byte, small-segmentHead)...)
		},
		"another has its name": func(f map[string][]byte) {
			f[second] = f[fmt.Sprintf(namePattern, 3)]
		},
	} {
		files := map[string][]byte{}
		for name, b := range whole {
			files[name] = b
		}
		spoil(files)
		lay(t, dir, files)
		l, err := openSized(dir, newBase(), small, nil)
		if damage := (*DamageError)(nil); !errors.As(err, &damage) {
			t.Errorf("%s: got %v, want a DamageError", what, err)
		}
		if err == nil {
			closed(t, l)
		}
	}
	// The database below is that of another time.
	lay(t, dir, whole)
	base := newBase()
	if err := base.StoreLogs(row(1, 3, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := openSized(dir, base, small, nil); err == nil {
		t.Error("entries that are there twice were taken")
	}
}

const child = "RAFTLOG_TEST_CHILD"

// TestKill9 kills a program that appends, voids and compacts, again and again:
// what it said is durable is there.
func TestKill9(t *testing.T) {
	if dir := os.Getenv(child); dir != "" {
		appendForEver(dir)
	}
	t.Parallel()
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	said := uint64(0)
	for round := range 12 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, self, "-test.run=^TestKill9$")
		cmd.Env = append(os.Environ(), child+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines, stop := bufio.NewScanner(out), 20+37*round
		for n := 0; n < stop && lines.Scan(); n++ {
			if said, err = strconv.ParseUint(lines.Text(), 10, 64); err != nil {
				t.Fatalf("round %d: it said %q", round, lines.Text())
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() { // said before the kill reached it
			if n, err := strconv.ParseUint(lines.Text(), 10, 64); err == nil && strings.HasSuffix(lines.Text(), "0") {
				said = n
			}
		}
		_ = cmd.Wait() // killed
		l := reopen(t, dir, newBase())
		first, _ := l.FirstIndex()
		last, _ := l.LastIndex()
		if last < said || first == 0 {
			t.Fatalf("round %d: it said %d, the log has %d to %d", round, said, first, last)
		}
		// It may have been killed before it voided what it had stored behind.
		remove(t, l, last-last%10+1, last)
		has(first, last-last%10, 1).want(t, l)
		closed(t, l)
	}
}

// appendForEver prints the index of the last entry of each batch, always a
// multiple of ten, so that a line cut off is seen.
func appendForEver(dir string) {
	err := func() error {
		l, err := openSized(dir, newBase(), 16<<10, nil)
		if err != nil {
			return err
		}
		for round := 0; ; round++ {
			last, _ := l.LastIndex() // a multiple of ten
			to := last + 10
			if err := l.StoreLogs(row(last+1, to, 1)); err != nil {
				return err
			}
			if _, err := fmt.Println(to); err != nil {
				return err
			}
			if round%5 == 4 { // what was not acknowledged as committed may be voided
				if err := errors.Join(l.StoreLogs(row(to+1, to+3, 9)), l.DeleteRange(to+1, to+3)); err != nil {
					return err
				}
			}
			if first, _ := l.FirstIndex(); to > first+300 {
				if err := l.DeleteRange(first, to-100); err != nil {
					return err
				}
			}
		}
	}()
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
