package run

import (
	"context"
	"io"
	"os"
	"time"
)

// DefaultTimeout is the deadline of a Cmd that names none.
const DefaultTimeout = time.Minute

// NoTimeout as Cmd.Timeout leaves the deadline to ctx alone: for builds, transfers and interactive sessions.
const NoTimeout time.Duration = -1

// Cmd is one process to start. The zero value of every field but Argv is usable.
type Cmd struct {
	// Argv is the program and its arguments. A program without a slash is looked up in PATH.
	Argv []string

	// Stdin is what the process reads; nil is /dev/null. An *os.File is handed over as it is.
	Stdin io.Reader

	// Stdout and Stderr receive output while it is written. nil collects it into the Result (at most MaxOutput bytes of
	// standard output, the last bytes of standard error). An *os.File is handed over as it is: no pipe, no goroutine, and the
	// process may outlive us without a broken pipe. Error.Stderr is filled for any other Stderr.
	Stdout, Stderr io.Writer

	// Env holds NAME=value pairs that are added to our own environment; later ones win. LC_ALL=C is set before them.
	Env []string

	// CleanEnv leaves our own environment out, except PATH.
	CleanEnv bool

	// OnlyEnv gives the process Env and nothing else, not even LC_ALL.
	OnlyEnv bool

	// Dir is the working directory; empty is ours.
	Dir string

	// Timeout ends the process; 0 is DefaultTimeout, NoTimeout is none.
	Timeout time.Duration

	// Grace is how long the process group has after SIGTERM before SIGKILL when its time is up. 0: SIGKILL at once.
	Grace time.Duration

	// NetNS is the path of a network namespace in which the process runs (Linux only); empty is ours.
	NetNS string

	// Hide starts the process in a mount namespace of its own from which these mounts are taken away (Linux only). Later
	// mounts of the host still appear in it where the host shares them.
	Hide []string

	// Files become descriptors 3, 4, ... of the process.
	Files []*os.File

	// NewSession makes the process the leader of its own session, so that no terminal of ours can signal it. Without it
	// the process leads a process group of its own.
	NewSession bool

	// Inside starts the process in a jail, as a user of it (FreeBSD only); nil is where we are, as who we are. Argv[0] is a path
	// of the jail then, and Dir a directory of it.
	Inside *Inside

	// TTY makes Stdin (an *os.File that is a terminal) the controlling terminal; it implies NewSession.
	TTY bool
}

// Inside says in which jail, and who: numbers, because names are the jail's own affair.
type Inside struct {
	JID      int
	UID, GID uint32
	Groups   []uint32 // supplementary
}

// Result is what a process left behind.
type Result struct {
	RC       int           // exit code; 128+signal when a signal ended it; -1 when it did not start
	Stdout   []byte        // when Cmd.Stdout was nil
	Stderr   []byte        // when Cmd.Stderr was nil; the last 64 KiB
	Duration time.Duration // from start to end
}

// Runner runs one command to its end. An exit code other than 0 is an error of type *Error; the Result is valid beside
// it. Real, Transcript and Func are Runners.
type Runner interface {
	Run(ctx context.Context, c Cmd) (Result, error)
}

// Starter starts a process that may outlive the call, and the caller.
type Starter interface {
	Start(c Cmd) (*Process, error)
}

// Func makes a function a Runner.
type Func func(ctx context.Context, c Cmd) (Result, error)

// Run calls f.
func (f Func) Run(ctx context.Context, c Cmd) (Result, error) { return f(ctx, c) }
