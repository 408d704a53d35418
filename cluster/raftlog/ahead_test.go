package raftlog

import (
	"errors"
	"os"
	"testing"
)

// slow is a disk that finishes a sync when it is told to.
type slow struct {
	begun  chan struct{}
	answer chan error
}

func newSlow() *slow { return &slow{begun: make(chan struct{}, 100), answer: make(chan error, 100)} }

func (s *slow) sync(*os.File) error {
	s.begun <- struct{}{}
	return <-s.answer
}

func on(t *testing.T, dir string, disk *slow) *Log {
	t.Helper()
	l, err := openSized(dir, newBase(), small, disk.sync)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func notYet[T any](t *testing.T, done <-chan T, what string) {
	t.Helper()
	select {
	case <-done:
		t.Fatalf("%s before the disk had answered", what)
	default:
	}
}

func unexpected(t *testing.T) func(error) {
	return func(err error) { t.Errorf("failed was called: %v", err) }
}

func TestAheadGoesOnWhileTheDiskWorks(t *testing.T) {
	t.Parallel()
	dir, disk := t.TempDir(), newSlow()
	l := on(t, dir, disk)
	if err := l.Settled(); err != nil {
		t.Fatal(err)
	}
	if err := l.StoreAhead(row(1, 3, 1), unexpected(t)); err != nil {
		t.Fatal(err)
	}
	has(1, 3, 1).want(t, l) // it can be sent
	settled, second := make(chan error, 1), make(chan error, 1)
	go func() { settled <- l.Settled() }()
	<-disk.begun
	go func() { second <- l.StoreAhead(row(4, 5, 1), unexpected(t)) }()
	notYet(t, settled, "Settled returned")
	notYet(t, second, "another batch was written")
	if last, _ := l.LastIndex(); last != 3 {
		t.Errorf("the last entry is %d, want 3: one batch at a time", last)
	}
	disk.answer <- nil
	if err := errors.Join(<-settled, <-second); err != nil {
		t.Fatal(err)
	}
	<-disk.begun
	done := make(chan error, 1)
	go func() { done <- l.Close() }()
	notYet(t, done, "Close returned")
	disk.answer <- nil
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	has(1, 5, 1).want(t, reopen(t, dir, newBase()))
}

// What others may have been sent is not there: nothing may be built on it.
func TestAfterAFailureAheadNothingIsWrittenAnyMore(t *testing.T) {
	t.Parallel()
	disk := newSlow()
	l := on(t, t.TempDir(), disk)
	disk.answer <- nil
	store(t, l, 1, 2, 1)
	broken, told := errors.New("broken"), make(chan error, 1)
	disk.answer <- broken
	if err := l.StoreAhead(row(3, 3, 1), func(err error) { told <- err }); err != nil {
		t.Fatal(err)
	}
	if err := <-told; !errors.Is(err, broken) {
		t.Errorf("failed was called with %v", err)
	}
	for range 2 {
		if err := l.Settled(); !errors.Is(err, broken) {
			t.Errorf("Settled: got %v, want that it failed", err)
		}
		if err := l.StoreLogs(row(4, 4, 1)); !errors.Is(err, broken) {
			t.Errorf("StoreLogs: got %v, want that the batch before failed", err)
		}
		if err := l.DeleteRange(3, 3); !errors.Is(err, broken) {
			t.Errorf("DeleteRange: got %v, want that the batch before failed", err)
		}
	}
	if err := l.Close(); !errors.Is(err, broken) {
		t.Errorf("Close: got %v, want that the batch before failed", err)
	}
}
