package build

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/rexcarcer/rexcarcer/spec"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

const defaultTimeout = time.Hour

// Builder builds images. It is safe for concurrent use.
type Builder struct {
	c     Config
	log   *slog.Logger
	steps locks

	mu      sync.Mutex // guards flights
	flights map[string]*flight
}

// flight is the build of one image key, which others may wait for.
type flight struct {
	done chan struct{} // closed when res and err are final
	res  Result
	err  error
}

// New returns a Builder that has done nothing yet.
func New(c Config) *Builder {
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	b := &Builder{c: c, log: c.Log, flights: map[string]*flight{}, steps: locks{m: map[string]*lock{}}}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	return b
}

// Build makes an image unless the store has it. progress may be nil; it is called from one goroutine at a time.
//
// Who asks for an image that is being built waits for that build and gets its result. A step that does not work is a
// *StepError; with Request.Keep, Result.Kept is what it left.
func (b *Builder) Build(ctx context.Context, r Request, progress func(Event)) (Result, error) {
	if progress == nil {
		progress = func(Event) {}
	}
	img := r.Image
	for {
		b.mu.Lock()
		f := b.flights[img.Key]
		if f == nil {
			f = &flight{done: make(chan struct{})}
			b.flights[img.Key] = f
			b.mu.Unlock()
			f.res, f.err = b.build(ctx, r, progress)
			b.mu.Lock()
			delete(b.flights, img.Key)
			b.mu.Unlock()
			close(f.done)
			return f.res, f.err
		}
		b.mu.Unlock()
		progress(Event{Kind: Output, Image: img.Name, Steps: len(img.Steps), Text: "waiting for another build of the same image"})
		select {
		case <-f.done:
		case <-ctx.Done():
			return Result{}, fmt.Errorf("build image %s: %w", img.Name, ctx.Err())
		}
		// The other one was cancelled by its own caller: that is no answer for us.
		if !errors.Is(f.err, context.Canceled) {
			return f.res, f.err
		}
	}
}

// Sweep removes what builds of a predecessor left in the scratch directory. Call it before the first Build; their jails
// and layers are swept by the driver's and the store's owner.
func (b *Builder) Sweep() error {
	entries, err := os.ReadDir(b.c.Dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("sweep build directory: %w", err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(b.c.Dir, e.Name())); err != nil {
			return fmt.Errorf("sweep build directory: %w", err)
		}
	}
	return nil
}

// job is one build under way; owned by the goroutine that runs it.
type job struct {
	*Builder
	img      spec.Image
	keep     bool
	timeout  time.Duration // of one step
	progress func(Event)
	context  *spool
	env      []string // of RUN: what ENV said so far
	inherit  Defaults // of the base
	top      string   // key of the highest layer so far
	res      Result
}

func (b *Builder) build(ctx context.Context, r Request, progress func(Event)) (_ Result, err error) {
	begin, img := time.Now(), r.Image
	if b.c.Store.HasImage(img.Key) {
		have, err := b.c.Store.Image(img.Key)
		if err != nil {
			return Result{}, fmt.Errorf("build image %s: %w", img.Name, err)
		}
		return Result{Key: img.Key, Bytes: have.Bytes, StepsCached: len(img.Steps), Took: time.Since(begin)}, nil
	}
	defer b.c.Store.Hold()()
	if err := os.MkdirAll(b.c.Dir, 0o711); err != nil {
		return Result{}, fmt.Errorf("build image %s: %w", img.Name, err)
	}
	j := &job{
		Builder: b, img: img, keep: r.Keep, timeout: b.c.Timeout, progress: progress,
		context: &spool{from: r.Context, dir: b.c.Dir}, res: Result{Key: img.Key},
	}
	if r.Timeout > 0 {
		j.timeout = min(j.timeout, r.Timeout)
	}
	defer func() { err = errors.Join(err, j.context.close()) }()
	if err := b.checkSpace(); err != nil {
		return Result{}, fmt.Errorf("build image %s: %w", img.Name, err)
	}
	watched, stop := b.watchSpace(ctx)
	defer stop()
	if err := j.run(watched); err != nil {
		if full := outOfSpace(watched); full != nil && !errors.Is(err, zfssync.ErrNoSpace) {
			err = full // of the base, which knows nothing of it
		}
		return Result{Kept: j.res.Kept}, fmt.Errorf("build image %s: %w", img.Name, err)
	}
	have, err := b.c.Store.Image(img.Key)
	if err != nil {
		return Result{}, fmt.Errorf("build image %s: %w", img.Name, err)
	}
	j.res.Bytes, j.res.Took = have.Bytes, time.Since(begin)
	b.log.Info("image built", "image", img.Name, "key", img.Key, "steps_run", j.res.StepsRun, "steps_cached", j.res.StepsCached, "took", j.res.Took)
	return j.res, nil
}

func (j *job) run(ctx context.Context) error {
	first := j.firstMissing()
	if err := j.base(ctx, first > 0); err != nil {
		return err
	}
	for i, s := range j.img.Steps {
		if err := j.step(ctx, i, s, i < first); err != nil {
			return err
		}
	}
	out := zfssync.Image{
		Key: j.img.Key, Top: j.top, Name: j.img.Name, Base: j.img.Base,
		Env: slices.Concat(j.inherit.Env, environ(j.img.Env)), Command: j.img.Command, User: j.inherit.User, WorkDir: j.inherit.WorkDir,
	}
	if len(out.Command) == 0 {
		out.Command = j.inherit.Command
	}
	for _, s := range j.img.Steps {
		out.Steps = append(out.Steps, s.Text)
	}
	return j.c.Store.PutImage(ctx, out)
}

// firstMissing returns the index after the highest step whose layer is there: the layers below a layer are, too.
func (j *job) firstMissing() int {
	for i := len(j.img.Steps) - 1; i >= 0; i-- {
		if s := j.img.Steps[i]; s.Kind != spec.StepEnv && j.c.Store.HasLayer(s.Key) {
			return i + 1
		}
	}
	return 0
}

// base finds or makes the lowest layer. With layers above it (cached) it is there already.
func (j *job) base(ctx context.Context, cached bool) error {
	if pin := j.img.BaseDigest; pin != "" && j.c.Store.HasImage(pin) { // whatever its name means by now
		return j.onImage(ctx, pin)
	}
	if j.c.Resolve != nil {
		if key, ok := j.c.Resolve(j.img.Base); ok {
			if j.img.BaseDigest != "" && j.img.BaseDigest != key {
				return fmt.Errorf("its base %s means another image now: plan again", j.img.Base)
			}
			return j.onImage(ctx, key)
		}
	}
	j.top = j.img.BaseKey()
	if j.c.Defaults != nil && j.img.BaseDigest != "" {
		var err error
		if j.inherit, err = j.c.Defaults(j.img.Base, j.img.BaseDigest); err != nil {
			return err
		}
	}
	if cached || j.c.Store.HasLayer(j.top) {
		return nil
	}
	j.emit(BaseStarted, 0, j.img.Base)
	begin := time.Now()
	if err := j.makeBase(ctx); err != nil {
		return err
	}
	j.progress(Event{Kind: StepFinished, Image: j.img.Name, Steps: len(j.img.Steps), Text: j.img.Base, Took: time.Since(begin)})
	return nil
}

// onImage takes an image of the cluster as the base.
func (j *job) onImage(ctx context.Context, key string) error {
	if j.c.Bring != nil && !j.c.Store.HasImage(key) {
		if err := j.c.Bring(ctx, j.img.Base, key); err != nil {
			return fmt.Errorf("its base: %w", err)
		}
	}
	img, err := j.c.Store.Image(key)
	if errors.Is(err, zfssync.ErrNotFound) {
		return fmt.Errorf("its base %s is an image that this host does not have: build that first: %w", j.img.Base, err)
	}
	if err != nil {
		return fmt.Errorf("base %s: %w", j.img.Base, err)
	}
	j.top, j.inherit = img.Top, Defaults{Env: img.Env, Command: img.Command, User: img.User, WorkDir: img.WorkDir}
	return nil
}

func (j *job) emit(kind EventKind, step int, text string) {
	j.progress(Event{Kind: kind, Image: j.img.Name, Step: step, Steps: len(j.img.Steps), Text: text})
}

func environ(vars []spec.EnvVar) []string {
	var out []string
	for _, v := range vars {
		out = append(out, v.Name+"="+v.Value)
	}
	return out
}
