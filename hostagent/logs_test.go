package hostagent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestALongLogIsCutAndItsOlderPartKept(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "jail.log")
	writer, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close() //nolint:errcheck // the test is over
	write := func(s string) {
		if _, err := writer.WriteString(s); err != nil {
			t.Fatal(err)
		}
	}
	write(strings.Repeat("old\n", 100))
	if err := rotateOne(path, 1000, marker{}, time.Now()); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || len(b) != 400 {
		t.Fatalf("a short log was touched: %d bytes, %v", len(b), err)
	}
	if err := rotateOne(path, 100, marker{}, time.Now()); err != nil {
		t.Fatal(err)
	}
	write("new\n")
	now, err1 := os.ReadFile(path)
	older, err2 := os.ReadFile(path + ".1")
	if err1 != nil || err2 != nil || string(now) != "new\n" || len(older) != 400 {
		t.Errorf("after the cut: %q now, %d bytes older, errors %v %v", now, len(older), err1, err2)
	}
}

func TestTailBeginsAtTheRightLine(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "jail.log")
	long := strings.Repeat("x", 70<<10)
	text := "one\ntwo\n" + long + "\nfour\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int]string{0: "", 1: "four\n", 2: long + "\nfour\n", 3: "two\n" + long + "\nfour\n", 9: text} {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		missing, err := seekTail(f, 0, n)
		if err != nil || missing != max(0, n-4) {
			t.Fatalf("tail %d: %d lines are missing, %v", n, missing, err)
		}
		rest := make([]byte, len(text))
		got, _ := f.Read(rest)
		if string(rest[:got]) != want {
			t.Errorf("tail %d: got %d bytes, want %d", n, got, len(want))
		}
		_ = f.Close()
	}
}

// TestLogsSinceATimeBeginThereAlsoInTheOlderPart: each line is written at its
// own minute, and the log was cut in between.
func TestLogsSinceATimeBeginThereAlsoInTheOlderPart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "jail.log")
	begin := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	marks := marker{}
	write := func(minute int, limit int64) {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(f, "%d\n", minute); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Close(), rotateOne(path, limit, marks, begin.Add(time.Duration(minute)*time.Minute))); err != nil {
			t.Fatal(err)
		}
		if minute == 5 { // as after a restart of the daemon
			marks = marker{}
		}
	}
	for minute := range 4 {
		write(minute, 1000)
	}
	write(4, 9) // and cut
	for minute := 5; minute < 9; minute++ {
		write(minute, 1000)
	}
	for _, c := range []struct {
		since float64 // minutes; below 0: all
		tail  int
		want  string
	}{
		{-1, -1, "012345678"}, {0, -1, "12345678"}, {2.5, -1, "345678"}, {6, -1, "78"}, {6.5, -1, "78"}, {8, -1, ""}, {99, -1, ""},
		{-1, 0, ""}, {-1, 2, "78"}, {-1, 4, "5678"}, {-1, 6, "345678"}, {-1, 99, "012345678"}, {2.5, 99, "345678"}, {2.5, 1, "8"}, {6, 99, "78"},
	} {
		v := LogView{Tail: c.tail}
		if c.since >= 0 {
			v.Since = begin.Add(time.Duration(c.since * float64(time.Minute)))
		}
		var b strings.Builder
		if err := (&Agent{}).copyLog(t.Context(), path, v, &b, func() bool { return true }); err != nil {
			t.Fatal(err)
		}
		if got := strings.ReplaceAll(b.String(), "\n", ""); got != c.want {
			t.Errorf("since minute %g, tail %d: got %q, want %q", c.since, c.tail, got, c.want)
		}
	}
}

func TestMarksOfALogAreBounded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "jail.log")
	var b []byte
	for i := range int64(maxMarks) {
		b = mark{i * 10_000, i}.append(b)
	}
	if err := os.WriteFile(marksOf(path), append(b, 1, 2, 3), 0o600); err != nil { // and a half one
		t.Fatal(err)
	}
	if err := (marker{}).put(path, maxMarks, time.UnixMilli(maxMarks*10_000)); err != nil {
		t.Fatal(err)
	}
	got, err := readMarks(path)
	if err != nil || len(got) != maxMarks/2+1 || got[len(got)-1].offset != maxMarks || got[1].offset != 2 {
		t.Errorf("%d marks, %v, want half of %d and the new one", len(got), err, maxMarks)
	}
}
