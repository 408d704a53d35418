package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/cluster"
	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/plan"
	"github.com/rexcarcer/rexcarcer/scheduler"
	"github.com/rexcarcer/rexcarcer/spec"
)

// ballast is what the daemon has too, see cmd/rexcarcer.
var ballast = make([]byte, 32<<20)

func open(dir string) (*cluster.Node, error) {
	return cluster.Open(cluster.Config{
		Dir: dir, Log: slog.New(slog.DiscardHandler),
		Fatal: func(err error) {
			fmt.Fprintln(os.Stderr, "bench scale: the server gives up:", err)
			os.Exit(1)
		},
	})
}

// beServer restarts from the files in dir, measures itself, says so, and serves
// until its input ends.
func beServer(ctx context.Context, dir string, rounds int) error {
	begun := born
	defer runtime.KeepAlive(ballast)
	node, err := open(dir)
	if err != nil {
		return err
	}
	want, err := os.ReadFile(filepath.Join(dir, "index"))
	if err != nil {
		return errors.Join(err, node.Close())
	}
	var index uint64
	if _, err := fmt.Sscan(string(want), &index); err != nil {
		return errors.Join(err, node.Close())
	}
	s, err := node.Wait(ctx, func(s *fsm.State) bool { return s.Index >= index })
	if err != nil {
		return errors.Join(err, node.Close())
	}
	f := figures{Socket: socketIn(dir), Index: s.Index, Jails: s.Jails.Len(), Restart: time.Since(begun).Seconds(), RestartCPU: cpuTime().Seconds()}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	f.Live = float64(m.HeapAlloc-uint64(len(ballast))) / (1 << 20)
	if err := f.look(s, dir, rounds); err != nil {
		return errors.Join(err, node.Close())
	}
	ctx, cancel := context.WithCancel(ctx)
	done, err := listen(ctx, node, f.Socket)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(f)
		_, _ = io.Copy(io.Discard, os.Stdin) // ends with the parent
		cancel()
		err = errors.Join(err, <-done)
	}
	cancel()
	return errors.Join(err, node.Close())
}

// look measures what needs no network.
func (f *figures) look(s *fsm.State, dir string, rounds int) error {
	for range rounds {
		begun, cpu := time.Now(), cpuTime()
		n, err := snapshot(s, filepath.Join(dir, "snapshot"))
		if err != nil {
			return err
		}
		f.Snapshot, f.Bytes = append(f.Snapshot, time.Since(begun).Seconds()), n
		f.SnapshotCPU = append(f.SnapshotCPU, (cpuTime() - cpu).Seconds())
		if err := f.plan(s); err != nil {
			return err
		}
		begun = time.Now()
		d := scheduler.Schedule(s, s.Now)
		f.Schedule = append(f.Schedule, float64(time.Since(begun).Microseconds())/1000)
		if len(d.Commands)+len(d.Pending) > 0 {
			return fmt.Errorf("the cluster is not at rest: %d commands, %d jails wait", len(d.Commands), len(d.Pending))
		}
	}
	return nil
}

func snapshot(s *fsm.State, path string) (int64, error) {
	file, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	if err := errors.Join(fsm.Write(file, s), file.Sync()); err != nil {
		return 0, errors.Join(err, file.Close())
	}
	n, err := file.Seek(0, io.SeekCurrent)
	return n, errors.Join(err, file.Close())
}

// plan plans another environment for all 1,000 jails of one wish.
func (f *figures) plan(s *fsm.State) error {
	old, ok := s.Wishes.Get(wishName(0))
	if !ok {
		return fmt.Errorf("there is no wish %s", wishName(0))
	}
	w := *old
	w.Jails = append([]spec.Jail{}, old.Jails...)
	for i := range w.Jails {
		w.Jails[i].Env = []spec.EnvVar{{Name: "GENERATION", Value: "2"}}
	}
	begun, cpu := time.Now(), cpuTime()
	p, err := plan.Make(&w, s, func(s *fsm.State) []fsm.Command { return scheduler.Schedule(s, s.Now).Commands })
	if err != nil {
		return err
	}
	f.Plan, f.PlanCPU = append(f.Plan, time.Since(begun).Seconds()), append(f.PlanCPU, (cpuTime()-cpu).Seconds())
	if n := p.Summary.Change + p.Summary.Move; n != perWish {
		return fmt.Errorf("the plan changes %d jails, want %d", n, perWish)
	}
	return nil
}

// aHost is the host that the API runs on: nothing is asked of it.
type aHost struct {
	api.Host
	id fsm.HostID
}

func (h aHost) ID() fsm.HostID { return h.id }

func listen(ctx context.Context, node *cluster.Node, path string) (<-chan error, error) {
	s, err := api.New(api.Config{
		Log: node, Host: aHost{id: node.ID()}, Plan: func(*fsm.State, *spec.Wish) (any, error) { return nil, errors.New("not here") },
		Identify: api.IdentifyLocal,
	})
	if err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	return done, nil
}
