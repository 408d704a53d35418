package main

import (
	"context"
	"io"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/cluster"
	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/hostagent"
	"github.com/rexcarcer/rexcarcer/hostagent/build"
	"github.com/rexcarcer/rexcarcer/jail"
)

// apiLog is the cluster as the API sees it: a wish that this host could not
// carry out is refused at the door, before anything of it is in the log.
type apiLog struct {
	*cluster.Node
	agent *hostagent.Agent
}

func (l apiLog) Propose(ctx context.Context, by string, cmd fsm.Command) (fsm.Applied, error) {
	if apply, ok := cmd.(fsm.ApplyWish); ok {
		if err := l.agent.Check(ctx, &apply.Wish); err != nil {
			return fsm.Applied{}, err
		}
	}
	applied, err := l.Node.Propose(ctx, by, cmd)
	return applied, unavailable(err)
}

// apiHost is this host as the API sees it: the same things under api's types,
// because siblings never import each other.
type apiHost struct{ d *daemon }

func (h apiHost) ID() fsm.HostID { return h.d.node.ID() }

func (h apiHost) Settled(ctx context.Context, index uint64) error {
	return h.d.agent.Settled(ctx, index)
}

func (h apiHost) Logs(ctx context.Context, name fsm.JailName, o api.LogOptions, w io.Writer) error {
	return h.d.agent.Logs(ctx, name, hostagent.LogView{Tail: o.Tail, Since: o.Since, Follow: o.Follow, UntilEnd: o.UntilEnd}, w)
}

func (h apiHost) Exec(ctx context.Context, name fsm.JailName, r api.ExecRequest, s api.ExecStreams) (int, error) {
	return enter(ctx, r, s, func(ctx context.Context, x jail.Exec) (int, error) { return h.d.agent.Exec(ctx, name, x) })
}

func (h apiHost) DebugImage(ctx context.Context, name string, r api.ExecRequest, s api.ExecStreams) (int, error) {
	return enter(ctx, r, s, func(ctx context.Context, x jail.Exec) (int, error) { return h.d.agent.DebugImage(ctx, name, x) })
}

// enter says in the driver's words what is to be run.
func enter(ctx context.Context, r api.ExecRequest, s api.ExecStreams, run func(context.Context, jail.Exec) (int, error)) (int, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	x := jail.Exec{Argv: r.Argv, Env: r.Env, User: r.User, WorkDir: r.Dir, TTY: r.TTY, Stdin: s.Stdin, Stdout: s.Stdout, Stderr: s.Stderr,
		Size: jail.WinSize{Rows: r.Size.Rows, Cols: r.Size.Cols}}
	if s.Resize != nil {
		sizes := make(chan jail.WinSize)
		x.Resize = sizes
		go func() {
			for size := range s.Resize {
				select {
				case sizes <- jail.WinSize{Rows: size.Rows, Cols: size.Cols}:
				case <-ctx.Done():
					return
				}
			}
		}()
	}
	return run(ctx, x)
}

func (h apiHost) BuildImage(ctx context.Context, r api.BuildRequest, progress func(api.BuildEvent)) (api.BuildResult, error) {
	states := map[build.EventKind]string{
		build.BaseStarted: "start", build.StepStarted: "start", build.StepCached: "cached", build.Output: "output", build.StepFinished: "done",
	}
	res, err := h.d.agent.Build(ctx, build.Request{Image: r.Image, Context: r.Content, Keep: r.Keep, Timeout: r.Timeout}, func(e build.Event) {
		progress(api.BuildEvent{Step: e.Step, Steps: e.Steps, State: states[e.Kind], Text: e.Text, Bytes: e.Bytes, Total: e.Total})
	})
	return api.BuildResult{Key: res.Key, Bytes: res.Bytes, Cached: res.StepsCached, Built: res.StepsRun, Kept: res.Kept}, err
}
