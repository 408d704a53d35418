package build

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rexcarcer/rexcarcer/spec"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

// StepError says which line of a .rex file did not work, and how.
type StepError struct {
	File string   // as the user gave it; may be ""
	Line int      // from 1; 0 when unknown
	Text string   // the line as written
	Code int      // of the RUN command; -1 when it was not the command that ended
	Tail []string // the last lines that it wrote
	Err  error    // the cause, when it was not an exit code
}

// Error is several lines when the step wrote something: place, line and cause, then the end of its output.
func (e *StepError) Error() string {
	var b strings.Builder
	if e.File != "" {
		fmt.Fprintf(&b, "%s:%d: ", e.File, e.Line)
	} else if e.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", e.Line)
	}
	b.WriteString(e.Text)
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	} else {
		fmt.Fprintf(&b, ": exit code %d", e.Code)
	}
	for _, l := range e.Tail {
		b.WriteString("\n    | " + l)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *StepError) Unwrap() error { return e.Err }

// step takes the image one step further. cached: a layer above this one is there.
func (j *job) step(ctx context.Context, i int, s spec.Step, cached bool) error {
	if s.Kind == spec.StepEnv {
		j.env = append(j.env, environ(s.Env)...)
		if cached {
			j.res.StepsCached++
		} else {
			j.res.StepsRun++
		}
		return nil
	}
	if cached {
		return j.have(i, s)
	}
	unlock, err := j.steps.lock(ctx, s.Key)
	if err != nil {
		return err
	}
	defer unlock()
	if j.c.Store.HasLayer(s.Key) { // another image with the same step was built meanwhile
		return j.have(i, s)
	}
	j.emit(StepStarted, i+1, s.Text)
	begin := time.Now()
	limited, cancel := context.WithTimeoutCause(ctx, j.timeout, fmt.Errorf("timed out after %v", j.timeout))
	defer cancel()
	if err := j.layer(limited, i, s); err != nil {
		return j.explain(limited, s, err)
	}
	j.top = s.Key
	j.res.StepsRun++
	j.progress(Event{Kind: StepFinished, Image: j.img.Name, Step: i + 1, Steps: len(j.img.Steps), Text: s.Text, Took: time.Since(begin)})
	return nil
}

func (j *job) have(i int, s spec.Step) error {
	j.emit(StepCached, i+1, s.Text)
	j.top = s.Key
	j.res.StepsCached++
	return nil
}

// explain puts the place of the step on err.
func (j *job) explain(ctx context.Context, s spec.Step, err error) error {
	e, ok := errors.AsType[*StepError](err)
	if !ok {
		e = &StepError{Code: -1, Err: err}
	}
	if ctx.Err() != nil { // the cause says more than "deadline exceeded"
		e.Code, e.Err = -1, fmt.Errorf("%w: %w", context.Cause(ctx), ctx.Err())
		if errors.Is(ctx.Err(), context.Canceled) {
			e.Err = context.Cause(ctx)
		}
		if full := outOfSpace(ctx); full != nil {
			e.Err = full
		}
	}
	e.File, e.Line, e.Text = j.img.Rexfile, s.Line, s.Text
	return e
}

// layer makes the layer of a RUN or COPY step; nothing of it is left after an error.
func (j *job) layer(ctx context.Context, i int, s spec.Step) (err error) {
	l, err := j.c.Store.BeginStep(ctx, j.top, s.Key, j.c.IDMap)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Abort()) }()
	switch s.Kind {
	case spec.StepRun:
		err = j.runStep(ctx, i, s, l.Root())
	case spec.StepCopy:
		err = j.copyStep(ctx, s, l.Root())
	default:
		err = fmt.Errorf("this version does not know the step %q", s.Kind)
	}
	if err != nil {
		if j.keep && !errors.Is(ctx.Err(), context.Canceled) {
			if failed := j.keepStep(i, s, l); failed != nil {
				j.emit(Output, i+1, failed.Error()) // the user has to see both
			}
		}
		return err
	}
	if err := j.checkSpace(); err != nil { // a quick step was not seen on its way
		return err
	}
	return l.Commit(ctx)
}

// copyStep copies out of the build context. The layer is found by a key that holds the digest of the content, so the
// content has to have it: else one sender could put his files under another's key.
func (j *job) copyStep(ctx context.Context, s spec.Step, root string) error {
	packed, err := j.context.open()
	if err != nil {
		return err
	}
	digest, err := zfssync.ContextDigest(packed, s.Src, zfssync.Limits{})
	if err != nil {
		return err
	}
	if digest != s.Digest {
		return fmt.Errorf("the build context does not hold what the step was planned with (digest %.19s, want %.19s): plan and send it again", digest, s.Digest)
	}
	if packed, err = j.context.open(); err != nil {
		return err
	}
	uid, gid, err := zfssync.ResolveOwner(root, s.Owner)
	if err != nil {
		return err
	}
	first := int(j.c.IDMap.HostBase)
	return zfssync.ApplyCopy(ctx, root, packed, zfssync.CopyOptions{Src: s.Src, Dst: s.Dst, UID: first + uid, GID: first + gid})
}
