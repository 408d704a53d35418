package zfssync_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/rexcarcer/rexcarcer/internal/run"
	"github.com/rexcarcer/rexcarcer/internal/zfstest"
	"github.com/rexcarcer/rexcarcer/zfssync"
	"github.com/rexcarcer/rexcarcer/zfssync/storetest"
)

// opened gives a store that can be opened again, and that is gone when the test ends.
func opened(tb testing.TB, open func() (zfssync.Store, error)) storetest.Opened {
	tb.Helper()
	s, err := open()
	if err != nil {
		tb.Fatal(err)
	}
	closed := false
	tb.Cleanup(func() {
		if closed {
			return
		}
		if err := errors.Join(s.Teardown(context.Background()), s.Close()); err != nil {
			tb.Error(err)
		}
	})
	return storetest.Opened{Store: s, Reopen: func() storetest.Opened {
		closed = true
		if err := s.Close(); err != nil {
			tb.Fatal(err)
		}
		return opened(tb, open)
	}}
}

func openOverlay(tb testing.TB) storetest.Opened {
	tb.Helper()
	dir := filepath.Join(tb.TempDir(), "store")
	return opened(tb, func() (zfssync.Store, error) { return zfssync.OpenOverlay(zfssync.Config{Dir: dir}) })
}

func openZFS(tb testing.TB) storetest.Opened {
	tb.Helper()
	pool := zfstest.Pool(tb, 256<<20)
	dir := filepath.Join(tb.TempDir(), "store")
	return opened(tb, func() (zfssync.Store, error) {
		return zfssync.OpenZFS(context.Background(), zfssync.Config{Dir: dir, Dataset: pool + "/rex", Instance: "test", Runner: run.Real{}})
	})
}

func TestOverlayConforms(t *testing.T) {
	t.Parallel()
	storetest.Conform(t, func(t *testing.T) bool { t.Parallel(); return true }, openOverlay)
}

func TestZFSConforms(t *testing.T) {
	storetest.Conform(t, zfstest.Isolated, openZFS)
}

func TestImagesGoBetweenTheDrivers(t *testing.T) {
	if zfstest.Isolated(t) {
		storetest.Mixed(t, openOverlay(t), openZFS(t))
	}
}
