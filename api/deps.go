package api

import (
	"context"
	"io"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

// Log is the replicated log as the server needs it.
type Log interface {
	// State is the newest published State. It is never nil.
	State() *fsm.State
	// Propose adds cmd to the log and returns when it was applied here.
	// A refused command comes back as a *fsm.Refusal.
	Propose(ctx context.Context, by string, cmd fsm.Command) (fsm.Applied, error)
	// Wait returns the first State, from now on, for which ok holds, or ctx's error.
	Wait(ctx context.Context, ok func(*fsm.State) bool) (*fsm.State, error)
	// Events yields what happened after index since, oldest first, and with
	// follow goes on until ctx ends or yield fails. When since lies before
	// what is still kept, the error has a method Oldest() uint64 that names
	// the oldest index from which events can be had.
	Events(ctx context.Context, since uint64, follow bool, yield func(fsm.Happened) error) error
}

// Host is what only the host that runs a jail can do.
type Host interface {
	// ID is this host's id.
	ID() fsm.HostID
	// Logs copies the jail's output to w, and with Follow goes on until ctx
	// ends, see also LogOptions.
	Logs(ctx context.Context, jail fsm.JailName, o LogOptions, w io.Writer) error
	// Exec runs a command in the jail and returns its exit code. It ends the
	// command when ctx ends.
	Exec(ctx context.Context, jail fsm.JailName, r ExecRequest, s ExecStreams) (int, error)
	// BuildImage makes the image. progress is called from one goroutine. With
	// an error, BuildResult.Kept may say what a failed step has left.
	BuildImage(ctx context.Context, r BuildRequest, progress func(BuildEvent)) (BuildResult, error)
	// DebugImage runs a command in a throw-away jail on the image name.
	DebugImage(ctx context.Context, name string, r ExecRequest, s ExecStreams) (int, error)
	// Settled waits until this host's networks are as the log had them at
	// index, or ctx ends.
	Settled(ctx context.Context, index uint64) error
	// Usage is what this host's jails use.
	Usage
	// Networking is what this host's networks really are.
	Networking
	// Ruling is what they let through.
	Ruling
	// Storage is this host's.
	Storage
	// Clocking is how right this host's clock is.
	Clocking
	// Bases are brought here by this host.
	Bases
	// Query asks this host's DNS server.
	Query(ctx context.Context, name, qtype string) (DNSAnswer, error)
}

// BuildRequest is one build.
type BuildRequest struct {
	Image   spec.Image
	Content io.Reader     // the packed build context, empty if the image copies nothing
	Keep    bool          // keep what a step that fails has left
	Timeout time.Duration // of each step, 0: the host's limit
}

// LogOptions says how much of a jail's output is wanted.
type LogOptions struct {
	Follow bool
	Tail   int // lines from the end; below 0 is all
	// Since leaves out what was written before; zero: nothing.
	Since time.Time
	// UntilEnd makes Follow end, after the last line, when the jail's newest
	// Run is over.
	UntilEnd bool
}

// ExecRequest is a command to run in a jail.
type ExecRequest struct {
	Argv []string `json:"argv"`
	Env  []string `json:"env,omitempty"`  // NAME=value, added to the jail's
	User string   `json:"user,omitempty"` // name, uid or uid:gid; empty is the jail's
	Dir  string   `json:"dir,omitempty"`  // working directory; empty is the jail's
	TTY  bool     `json:"tty,omitempty"`  // with a terminal: stderr comes in stdout
	Size Size     `json:"size,omitzero"`  // of the terminal at the start
}

// Size of a terminal in characters.
type Size struct {
	Rows uint16 `json:"rows"`
	Cols uint16 `json:"cols"`
}

// ExecStreams connect the command to the user.
type ExecStreams struct {
	Stdin  io.Reader // ends when the user's input ends
	Stdout io.Writer
	Stderr io.Writer
	Resize <-chan Size // closed when the session ends
}

// Planner compares a wish with the State. The answer is a JSON-able value of
// the shape of Plan.
type Planner func(s *fsm.State, w *spec.Wish) (any, error)

// DestroyPlanner is the same for the end of a wish.
type DestroyPlanner func(s *fsm.State, name string) (any, error)

// Explainer says why a jail is where it is, or why it is not placed yet.
type Explainer func(s *fsm.State, jail fsm.JailName) []string

// HostLive is what gossip and raft know of a host beside the State.
type HostLive struct {
	Leader       bool
	Voter        bool
	AppliedIndex uint64
}
