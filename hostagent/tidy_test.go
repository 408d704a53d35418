package hostagent

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/jail"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

// clingingStore has a leftover that is busy for a while.
type clingingStore struct {
	*zfssync.Sim
	sweeps atomic.Int64
}

func (s *clingingStore) Sweep(context.Context, zfssync.Keep) ([]string, error) {
	if s.sweeps.Add(1) < 2 {
		return nil, errors.New("remove leftover: dataset is busy")
	}
	return []string{"leftover"}, nil
}

// A dataset that the kernel still holds is no reason to leave all jails of a host alone.
func TestALeftoverThatIsBusyKeepsNoDaemonFromWorking(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.host()
	store := &clingingStore{Sim: w.store}
	ctx, cancel := context.WithCancel(t.Context())
	a, err := New(ctx, Config{Host: "h1", Name: "host1", Dir: w.dir, RunDir: w.dir, LogDir: w.dir, Cluster: w.log,
		Jails: jail.NewSim(jail.SimConfig{}), Nets: w.nets, Store: store, Clock: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		_ = a.Close()
	}()
	if err := a.afterSweep(ctx); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); store.sweeps.Load() < 2; <-time.After(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it was not tried again")
		}
	}
}
