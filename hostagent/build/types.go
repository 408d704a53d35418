package build

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/rexcarcer/rexcarcer/jail"
	"github.com/rexcarcer/rexcarcer/spec"
	"github.com/rexcarcer/rexcarcer/zfssync"
	"github.com/rexcarcer/rexcarcer/zfssync/source"
)

// Jails is what the builder needs of jail.Driver.
type Jails interface {
	Start(ctx context.Context, s jail.Spec) (jail.Status, error)
	Wait(ctx context.Context, id string) (jail.Status, error)
	Remove(ctx context.Context, id string) error
	Exec(ctx context.Context, id string, x jail.Exec) (int, error)
}

// Store is what the builder needs of zfssync.Store.
type Store interface {
	HasImage(key string) bool
	Image(key string) (zfssync.Image, error)
	PutImage(ctx context.Context, img zfssync.Image) error
	HasLayer(key string) bool
	Base(ctx context.Context, ref, key string, progress zfssync.Progress) error
	BeginStep(ctx context.Context, parent, key string, ids zfssync.IDMap) (zfssync.Build, error)
	Clone(ctx context.Context, imageKey, uuid string, o zfssync.CloneOptions) (root string, err error)
	Destroy(ctx context.Context, uuid string) error
	Hold() (release func())
}

// Sources is what the builder needs of source.Sources.
type Sources interface {
	Handles(ref string) bool
	Fetch(ctx context.Context, ref, digest string, progress source.Progress) (source.Fetched, error)
}

// Network is where a RUN step runs.
type Network struct {
	NetNS      string // path of a network namespace; "": no network
	ResolvConf string // content of /etc/resolv.conf while the step runs
	Close      func() error
}

// Config of a Builder.
type Config struct {
	Store Store
	Jails Jails
	Dir   string // scratch directory of the builder's own, absolute; made 0711 when missing

	// Attach makes a network for one RUN step; nil: steps have none. Close is called when the step is over.
	Attach func(ctx context.Context, id string) (Network, error)

	// Resolve tells the key of an image of the cluster, for BASE NAME; nil: there are none.
	Resolve func(name string) (key string, ok bool)

	// Bring makes an image of the cluster be here, from another host; nil: nobody does.
	Bring func(ctx context.Context, name, key string) error

	// Defaults tells how a pinned base says that processes start; nil: no base says anything.
	Defaults func(ref, digest string) (Defaults, error)

	// Sources brings bases from elsewhere; nil: only what Store.Base makes.
	Sources Sources

	IDMap   zfssync.IDMap // of RUN steps; zero: the steps' root is the host's
	Limits  jail.Limits   // of RUN steps
	Env     []string      // NAME=value for RUN steps, beneath the image's own: a proxy
	Timeout time.Duration // of one step; 0: an hour
	Log     *slog.Logger  // nil discards

	// Free tells the bytes that are free where layers are written. A build that leaves less than MinFree is ended. Nil: nobody looks.
	Free    func() (int64, error)
	MinFree int64
}

// Defaults say how processes start where the .rex file does not say it.
type Defaults struct {
	Env     []string // NAME=value, also of RUN steps
	Command []string
	User    string // of the jail's processes; RUN steps are root's
	WorkDir string
}

// Request is one build.
type Request struct {
	Image   spec.Image
	Context io.Reader     // the build context (zfssync.PackContext) when a step copies, else nil
	Keep    bool          // make an image of what a step that fails has left
	Timeout time.Duration // of one step, where it is shorter than Config.Timeout; 0: that
}

// EventKind says what an Event tells.
type EventKind string

// The kinds of Event.
const (
	BaseStarted  EventKind = "base"   // the base is being made
	StepStarted  EventKind = "step"   // Text is the line of the .rex file
	StepCached   EventKind = "cached" // the layer was there
	Output       EventKind = "output" // Text is one line that the step wrote
	StepFinished EventKind = "done"   // Took is how long it ran
)

// Event is one piece of progress.
type Event struct {
	Kind  EventKind     `json:"kind"`
	Image string        `json:"image"`
	Step  int           `json:"step"` // from 1; 0 is the base
	Steps int           `json:"steps"`
	Text  string        `json:"text,omitempty"`
	Took  time.Duration `json:"took,omitempty"`
	Bytes int64         `json:"bytes,omitempty"` // fetched of Total, where known
	Total int64         `json:"total,omitempty"`
}

// Result of a Build.
type Result struct {
	Key         string        `json:"key"`
	Bytes       int64         `json:"bytes"`
	StepsRun    int           `json:"steps_run"`
	StepsCached int           `json:"steps_cached"`
	Took        time.Duration `json:"took"`
	Kept        *spec.Image   `json:"kept,omitempty"` // what a failed step left, under a name of its own; see Request.Keep
}
