package hostagent

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/rexcarcer/rexcarcer/zfssync"
)

// lacking is a store without images until somebody brings them.
type lacking struct {
	zfssync.Store
	has map[string]bool
}

func (l lacking) HasImage(key string) bool { return l.has[key] }

func (l lacking) Image(key string) (zfssync.Image, error) {
	return zfssync.Image{Key: key, Bytes: 42}, nil
}

func TestAnImageThatIsNotHereIsFetchedAndTheClusterHearsOfIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.host()
	store := lacking{w.store, map[string]bool{}}
	a := &Agent{c: Config{Host: "h1", Cluster: w.log, Store: store, Log: slog.New(slog.DiscardHandler)}}
	key := "sha256:" + strings.Repeat("7", 64)

	if err := a.fetch(t.Context(), "web", key); err == nil || !strings.Contains(err.Error(), "rexctl image build") {
		t.Errorf("alone: %v", err)
	}
	a.c.Fetch = func(context.Context, string) (Fetched, error) { return Fetched{}, errors.New("no host\nhas it") }
	if err := a.fetch(t.Context(), "web", key); err == nil || !strings.Contains(err.Error(), "no host\nhas it") {
		t.Errorf("nobody has it: %v", err)
	}
	fetched := 0
	a.c.Fetch = func(_ context.Context, k string) (Fetched, error) {
		fetched++
		store.has[k] = true
		return Fetched{1 << 20, []string{"two"}}, nil
	}
	for range 2 {
		if err := a.fetch(t.Context(), "web", key); err != nil {
			t.Fatal(err)
		}
	}
	b, ok := w.log.State().Builds.Get(key)
	if fetched != 1 || !ok || len(b.Hosts) != 1 || b.Hosts[0] != "h1" || b.Bytes != 42 {
		t.Errorf("fetched %d times, the cluster knows %+v", fetched, b)
	}
}
