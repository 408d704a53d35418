package zfssync_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rexcarcer/rexcarcer/internal/run"
	"github.com/rexcarcer/rexcarcer/internal/zfstest"
	"github.com/rexcarcer/rexcarcer/zfssync"
	"github.com/rexcarcer/rexcarcer/zfssync/storetest"
)

// faulty is a Runner that breaks at one of its calls. What only reads is no point of its own.
type faulty struct {
	mu    sync.Mutex
	left  int  // calls until it breaks; 0: never
	after bool // break after the command ran, else before
	dead  bool // and every call after it: the daemon died
	die   bool
}

var errKilled = errors.New("killed by the test")

func (f *faulty) Run(ctx context.Context, c run.Cmd) (run.Result, error) {
	f.mu.Lock()
	now := false
	if len(c.Argv) > 2 && c.Argv[0] == "zfs" && c.Argv[1] != "get" && f.left > 0 {
		f.left--
		now = f.left == 0
	}
	if f.dead {
		f.mu.Unlock()
		return run.Result{RC: -1}, errKilled
	}
	f.dead = now && f.die
	f.mu.Unlock()
	if now && !f.after {
		return run.Result{RC: -1}, errKilled
	}
	r, err := run.Real{}.Run(ctx, c)
	if now {
		return run.Result{RC: 137}, errKilled
	}
	return r, err
}

// TestZFSKilledAtEveryCommandFinishesWhenItIsAskedAgain kills the zfs child (before it does anything, and after it has done
// all), and the daemon, at every zfs command of each operation.
func TestZFSKilledAtEveryCommandFinishesWhenItIsAskedAgain(t *testing.T) {
	for _, op := range faultOps {
		t.Run(op.name, func(t *testing.T) {
			if zfstest.Isolated(t) {
				faultLoop(t, op)
			}
		})
	}
}

type faultOp struct {
	name string
	do   func(ctx context.Context, s zfssync.Store, stream []byte, snap zfssync.Snapshot) error
	done func(s zfssync.Store) bool
	undo func(ctx context.Context, s zfssync.Store) error
}

var faultOps = []faultOp{
	{
		"clone",
		func(ctx context.Context, s zfssync.Store, _ []byte, _ zfssync.Snapshot) error {
			_, err := s.Clone(ctx, storetest.Key(1), storetest.UUID(1), zfssync.CloneOptions{})
			return err
		},
		func(s zfssync.Store) bool { return lists(s, 1, 1) },
		func(ctx context.Context, s zfssync.Store) error { return s.Destroy(ctx, storetest.UUID(1)) },
	},
	{
		"step",
		func(ctx context.Context, s zfssync.Store, _ []byte, _ zfssync.Snapshot) error {
			b, err := s.BeginStep(ctx, storetest.Key(1), storetest.Key(2), zfssync.IDMap{})
			if err != nil {
				return err
			}
			err = os.WriteFile(b.Root()+"/x", []byte("x"), 0o600)
			if err == nil {
				err = b.Commit(ctx)
			}
			return errors.Join(err, b.Abort())
		},
		func(s zfssync.Store) bool { return lists(s, 2, 0) },
		dropUnnamed,
	},
	{
		"receive",
		func(ctx context.Context, s zfssync.Store, stream []byte, snap zfssync.Snapshot) error {
			return s.Receive(ctx, snap.Object, storetest.Options(snap, ""), bytes.NewReader(stream))
		},
		func(s zfssync.Store) bool { return lists(s, 2, 0) },
		dropUnnamed,
	},
}

// dropUnnamed removes the layers that no image names.
func dropUnnamed(ctx context.Context, s zfssync.Store) error {
	_, err := s.Sweep(ctx, zfssync.Keep{AllJails: true, Images: []string{storetest.Key(1)}})
	return err
}

// lists reports whether the store holds so many layers and clones, and nothing half made.
func lists(s zfssync.Store, layers, clones int) bool {
	l, err := s.List(context.Background())
	return err == nil && len(l.Layers) == layers && len(l.Clones) == clones && len(l.Leftovers) == 0
}

func faultLoop(t *testing.T, op faultOp) {
	a := openZFS(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(a.Base(t.Context(), storetest.Tarball(t), storetest.Key(2), nil))
	list, err := a.Snapshots(t.Context(), zfssync.Object{Kind: zfssync.KindLayer, Name: storetest.Key(2)})
	must(err)
	var stream bytes.Buffer
	must(a.Send(t.Context(), list[0].Object, zfssync.SendOptions{}, &stream))

	f := &faulty{}
	c := zfssync.Config{Dir: filepath.Join(t.TempDir(), "store"), Dataset: zfstest.Pool(t, 128<<20) + "/rex", Instance: "test", Runner: f}
	open := func() zfssync.Store {
		s, err := zfssync.OpenZFS(context.Background(), c)
		must(err)
		return s
	}
	s := open()
	defer func() { must(errors.Join(s.Teardown(context.Background()), s.Close())) }()
	storetest.BaseImage(t, s, 1)
	points := 0
	for _, mode := range []struct{ die, after bool }{{}, {after: true}, {die: true}, {die: true, after: true}} {
		for n := 1; ; n++ {
			f.mu.Lock()
			f.left, f.after, f.die, f.dead = n, mode.after, mode.die, false
			f.mu.Unlock()
			err := op.do(t.Context(), s, stream.Bytes(), list[0])
			f.mu.Lock()
			broke := f.left == 0
			f.left, f.dead = 0, false
			f.mu.Unlock()
			if broke {
				points++
			}
			if broke && mode.die {
				must(s.Close())
				s = open()
			}
			if err != nil && !broke {
				t.Fatalf("point %d, %+v: %v", n, mode.after, err)
			}
			if err := op.do(t.Context(), s, stream.Bytes(), list[0]); err != nil { // the same call finishes
				t.Fatalf("asked again after point %d (after=%v die=%v): %v", n, mode.after, mode.die, err)
			}
			if _, err := s.Sweep(t.Context(), zfssync.Keep{AllJails: true}); err != nil {
				t.Fatal(err)
			}
			if !op.done(s) {
				l, err := s.List(t.Context())
				t.Fatalf("after point %d (after=%v die=%v): %+v, %v", n, mode.after, mode.die, l, err)
			}
			must(op.undo(t.Context(), s))
			if !broke {
				break
			}
		}
	}
	t.Logf("%s: %d fail points", op.name, points)
	if points == 0 {
		t.Error("no fail point was met")
	}
}

// TestAFullPoolIsToldAndWorksAgainAfterwards fills the pool by a volume, and makes room again.
func TestAFullPoolIsToldAndWorksAgainAfterwards(t *testing.T) {
	if !zfstest.Isolated(t) {
		return
	}
	s := openZFS(t)
	storetest.BaseImage(t, s, 1)
	vol, err := s.Volume(t.Context(), "fill", 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := fill(vol + "/big"); err == nil {
		t.Fatal("the pool never got full")
	}
	big := filepath.Join(t.TempDir(), "big")
	if err := os.Mkdir(big, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(big+"/x", bytes.Repeat([]byte("not so small "), 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	err = s.Base(t.Context(), big, storetest.Key(2), nil)
	if !errors.Is(err, zfssync.ErrNoSpace) || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("a base in a full pool: got %v, want no space", err)
	}
	if !s.HasImage(storetest.Key(1)) || s.HasLayer(storetest.Key(2)) {
		t.Error("the full pool lost or half made something")
	}
	if err := s.DestroyVolume(t.Context(), "fill"); err != nil {
		t.Fatal(err)
	}
	if err := s.Base(t.Context(), big, storetest.Key(2), nil); err != nil {
		t.Errorf("once there is space again: %v", err)
	}
	if _, err := s.Clone(t.Context(), storetest.Key(1), storetest.UUID(1), zfssync.CloneOptions{}); err != nil {
		t.Error(err)
	}
}

// fill writes until it fails.
func fill(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, 1<<20)
	for i := range b {
		b[i] = byte(i*7 + i>>8*13)
	}
	for range 1024 {
		if _, err := f.Write(b); err != nil {
			return err
		}
	}
	return nil
}
