package jail

import (
	"context"
	"path"
	"slices"
	"strings"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// tools starts programs by where the base system has them, because the PATH of rc(8) is bare, and looks for one that is not there
// in PATH: hosts that were built by hand have theirs elsewhere.
type tools struct{ run.Runner }

func (t tools) Run(ctx context.Context, c run.Cmd) (run.Result, error) {
	res, err := t.Runner.Run(ctx, c)
	if other, ok := elsewhere(c); ok && run.NotFound(err) {
		return t.Runner.Run(ctx, other)
	}
	return res, err
}

// elsewhere is c with its program by name alone. A program of a jail is not looked for on the host.
func elsewhere(c run.Cmd) (run.Cmd, bool) {
	if c.Inside != nil || len(c.Argv) == 0 || !strings.Contains(c.Argv[0], "/") {
		return c, false
	}
	c.Argv = slices.Concat([]string{path.Base(c.Argv[0])}, c.Argv[1:])
	return c, true
}

// begin starts what outlives us.
func (f *FreeBSD) begin(c run.Cmd) (int, func() int, error) {
	pid, wait, err := f.kern.start(c)
	if other, ok := elsewhere(c); ok && run.NotFound(err) {
		return f.kern.start(other)
	}
	return pid, wait, err
}
