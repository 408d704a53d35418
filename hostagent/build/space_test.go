package build

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rexcarcer/rexcarcer/jail"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

func TestAStepIsEndedBeforeTheDiskIsFull(t *testing.T) {
	t.Parallel()
	var free atomic.Int64
	free.Store(10 << 20)
	b, s, j := newFake(t, func(ctx context.Context, s jail.Spec, _ func(string)) int {
		if s.Argv[2] == "greedy" {
			free.Store(1 << 20)
			<-ctx.Done()
		}
		return 0
	}, func(c *Config) {
		c.Free, c.MinFree = func() (int64, error) { return free.Load(), nil }, 5<<20
	})
	img := image(t, "web", "debian:bookworm", "RUN small", "RUN greedy")
	res, err := b.Build(t.Context(), Request{Image: img, Keep: true}, nil)
	if !errors.Is(err, zfssync.ErrNoSpace) || errors.Is(err, context.Canceled) || res.Kept != nil {
		t.Fatalf("got %+v, %v", res, err)
	}
	for _, want := range []string{"web.rex:3: RUN greedy", "1M is free", "5M has to stay", "rexctl image gc"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	if s.aborted != 1 || !s.HasLayer(img.Steps[0].Key) {
		t.Error("want the good step kept and the greedy one aborted")
	}
	if _, err := b.Build(t.Context(), Request{Image: img}, nil); !errors.Is(err, zfssync.ErrNoSpace) || len(j.runs) != 2 {
		t.Errorf("a build with too little space began: %v, ran %q", err, j.runs)
	}
}
