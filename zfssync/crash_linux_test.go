package zfssync

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/testenv"
)

const crashEnv = "REXCARCER_TEST_CRASH_DIR"

// TestCrashChild is what TestKilledAtAnyMomentItConverges kills: it makes layers, images, clones and volumes for ever.
func TestCrashChild(t *testing.T) {
	dir := os.Getenv(crashEnv)
	if dir == "" {
		t.Skip("runs only as the child of another test")
	}
	s, err := OpenOverlay(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("ready")
	for i := range 100_000 {
		if err := crashRound(t.Context(), s, i); err != nil {
			t.Fatal(err)
		}
	}
}

func crashRound(ctx context.Context, s Store, i int) error {
	key, uuid, ids := testKey(1000+i%7), testUUID(i%3), IDMap{}
	if s.Features().IDMap {
		ids = testIDs(uint32(i % 3))
	}
	if !s.HasLayer(key) {
		b, err := s.BeginStep(ctx, testKey(1), key, ids)
		if err != nil {
			return err
		}
		if err := os.WriteFile(b.Root()+"/whole", []byte(key), 0o644); err != nil {
			return err
		}
		if err := b.Commit(ctx); err != nil {
			return err
		}
	}
	if err := s.PutImage(ctx, Image{Key: key, Top: key}); err != nil {
		return err
	}
	if err := s.Destroy(ctx, uuid); err != nil {
		return err
	}
	if _, err := s.Clone(ctx, key, uuid, CloneOptions{Volatile: i%2 == 0, IDMap: ids}); err != nil {
		return err
	}
	vol, err := s.Volume(ctx, "v", int64(i))
	if err != nil {
		return err
	}
	if _, err := s.Bind(ctx, uuid, "v", vol, BindOptions{IDMap: ids}); err != nil {
		return err
	}
	if i%7 == 6 {
		_, err = s.Sweep(ctx, Keep{AllJails: true, Images: []string{testKey(1)}})
	}
	return err
}

// Cases 54 and 55 of the failure list: kill -9 at any step, then start again.
func TestCase55KilledAtAnyMomentItConverges(t *testing.T) {
	t.Parallel()
	testenv.RequireRoot(t)
	dir := filepath.Join(t.TempDir(), "store")
	t.Cleanup(func() { // also when it failed
		if err := (&Overlay{layout: layout{dir}}).unmountBelow(dir); err != nil {
			t.Error(err)
		}
	})
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // moments to kill at
	prepare := func() *Overlay {
		s, err := OpenOverlay(Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		return s.(*Overlay)
	}
	o := prepare()
	baseImage(t, o, 1)
	for range 12 {
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
		killChild(t, dir, time.Duration(rnd.IntN(60_000))*time.Microsecond)
		o = prepare()
		checkConverged(t, o)
	}
	if err := errors.Join(o.Teardown(t.Context()), o.Close()); err != nil {
		t.Error(err)
	}
	noMountsBelow(t, dir)
}

func killChild(t *testing.T, dir string, after time.Duration) {
	t.Helper()
	c := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestCrashChild$") //nolint:gosec // ourselves
	c.Env = append(os.Environ(), crashEnv+"="+dir)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != "ready" {
		t.Fatalf("child said %q, %v", line, err)
	}
	<-time.After(after)
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err == nil {
		t.Fatal("the child ended by itself")
	}
}

func checkConverged(t *testing.T, o *Overlay) {
	t.Helper()
	ctx := t.Context()
	for i := range 3 { // retrying what was interrupted works as it is
		if err := crashRound(ctx, o, i); err != nil {
			// A clone of another image under this uuid is destroyed by the round itself, so nothing may be left to say.
			t.Fatalf("retry: %v", err)
		}
	}
	if _, err := o.Sweep(ctx, Keep{}); err != nil {
		t.Fatal(err)
	}
	l, err := o.List(ctx)
	if err != nil || len(l.Leftovers) != 0 || len(l.Clones) != 0 {
		t.Fatalf("after the sweep: %+v, %v", l, err)
	}
	noMountsBelow(t, o.dir)
	for _, k := range l.Layers {
		if k == testKey(1) {
			continue
		}
		wantFile(t, o.layout.layer(strings.TrimPrefix(k, keyPrefix))+"/fs/whole", k)
		if _, err := o.readLayer(k); err != nil {
			t.Error(err)
		}
	}
}
