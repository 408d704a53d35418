package zfssync

import (
	"context"
	"errors"
	"io"
	"time"
)

// Errors of Streams on which callers branch, besides ErrNotFound and ErrInUse.
var (
	// ErrNoSpace: the pool or file system is full. Nothing was lost; the same call works once there is space.
	ErrNoSpace = errors.New("no space left")
	// ErrOriginMissing: what the stream stands on (ReceiveOptions.From) is not here: bring that first.
	ErrOriginMissing = errors.New("origin is not here")
	// ErrFormat: this store neither reads nor writes streams of that format.
	ErrFormat = errors.New("stream format not supported")
	// ErrLaterSnapshots: a rollback would destroy snapshots that are newer.
	ErrLaterSnapshots = errors.New("newer snapshots exist")
)

// Kind of an Object.
type Kind string

// The kinds of Object.
const (
	KindLayer  Kind = "layer"  // Name is the layer's key
	KindVolume Kind = "volume" // Name is the VolumeID
	KindJail   Kind = "jail"   // Name is the uuid: what the jail wrote above its image
)

// Object is what has snapshots and can travel.
type Object struct {
	Kind Kind   `json:"kind"`
	Name string `json:"name"`
}

// String returns "volume w.web.data", for messages.
func (o Object) String() string { return string(o.Kind) + " " + o.Name }

// Format is how a stream is written.
type Format string

// The formats. ZFS streams are what zfs send writes, for one snapshot (no -R, no -p). Tar is POSIX tar of a directory, in
// order of names: for a layer or a jail only what differs from its origin, with overlayfs's whiteouts as character devices
// 0:0 and its opaque directories as PAX attribute SCHILY.xattr.trusted.overlay.opaque; for a volume all of it.
const (
	FormatZFS Format = "zfs"
	FormatTar Format = "tar"
)

// LayerSnapshot is the name of a layer's only snapshot. It is made when the layer is committed.
const LayerSnapshot = "layer"

// Snapshot is one state of an Object that never changes.
type Snapshot struct {
	Object    Object    `json:"object"`
	Name      string    `json:"name"` // unique within the Object
	GUID      string    `json:"guid"` // equal GUIDs are equal content, on any host; never compare names
	CreatedAt time.Time `json:"created_at"`
	Bytes     int64     `json:"bytes"`  // that it refers to, its origin's included on ZFS; 0 when unknown
	Format    Format    `json:"format"` // of the stream that Send writes

	// Origin is the GUID that the Object was cloned from, "" for a lowest layer and a volume. The delta over it is Send with
	// From = Origin.
	Origin string `json:"origin,omitempty"`
	Layer  string `json:"layer,omitempty"` // key of the layer that Origin is: a layer's parent, the top of a jail's image
	Image  string `json:"image,omitempty"` // of a jail: key of its image
	Base   string `json:"base,omitempty"`  // of a lowest layer: what it was made from

	// Over is the GUID of the snapshot before it, where a tar stream can begin there: of volumes, between two snapshots whose
	// names begin with sync-.
	Over string `json:"over,omitempty"`
}

// SendOptions choose a stream.
type SendOptions struct {
	Snapshot string // name; "" is the newest (a layer's only one)

	// From is the GUID that the receiver has already: Snapshot.Origin or an older snapshot of the same Object. "" is all of
	// it. In tar, layers and jails are always sent as the delta over their origin (From = Origin, or "" where there is none),
	// and volumes whole (From = "") or over another snapshot of theirs (From = Snapshot.Over); anything else is ErrFormat. See Features.Increments.
	From string

	// Resume is a token of Streams.ResumeToken on the receiver; the other fields are then ignored but Snapshot.
	Resume string
}

// ReceiveOptions say what a stream is. All of it is the peer's word: what can be checked against the stream is checked.
type ReceiveOptions struct {
	Format   Format
	Snapshot string // name to give it
	GUID     string // of the snapshot; for a tar of a layer its key
	From     string // as in SendOptions

	Layer string // key of the layer it stands on: a layer's parent, the top of a jail's image; "" for a lowest layer
	Image string // of a jail: key of its image, which should be here before the jail is cloned
	Base  string // of a lowest layer: what it was made from, for List

	QuotaBytes int64        // of a new volume; 0 is none
	Options    CloneOptions // of a jail: with what Clone will mount it

	Resumable bool     // keep what came when the stream is cut, where Features.Resume
	Devices   bool     // take device nodes out of a tar; otherwise they are left out (whiteouts are taken anyway)
	Limits    Limits   // of a tar; zero fields get those of the store
	Progress  Progress // what was left out; may be nil
}

// RollbackOptions of Rollback.
type RollbackOptions struct {
	DropLater bool // destroy snapshots that are newer than the one rolled back to; else they are ErrLaterSnapshots
}

// Streams is the part of a Store that takes snapshots and moves them between hosts. Every Store implements it. Names of
// snapshots are 1 to 128 of a-z, 0-9, '.', '_', '-'.
//
// A Receive that is cut off leaves the Object as it was: the same call again finishes (a kill -9 too). With Resumable,
// ResumeToken then says from where.
type Streams interface {
	// Snapshots lists those of an Object, oldest first; none for an Object that is not here.
	Snapshots(ctx context.Context, o Object) ([]Snapshot, error)
	// TakeSnapshot makes one of a volume or jail. One of that name that is there already is returned as it is.
	TakeSnapshot(ctx context.Context, o Object, name string) (Snapshot, error)
	// DropSnapshot removes one; none is success. ErrInUse while it is held or something was cloned from it, and always for
	// a layer's.
	DropSnapshot(ctx context.Context, o Object, name string) error
	// Rollback makes a volume or jail what it was at the snapshot. ErrInUse while it is mounted for a jail.
	Rollback(ctx context.Context, o Object, name string, opt RollbackOptions) error
	// HoldSnapshot keeps one from being dropped until release is called. Send holds by itself while it runs.
	HoldSnapshot(ctx context.Context, o Object, name string) (release func(), err error)

	// Send writes one snapshot as a stream in the format that Snapshot.Format says. Two calls with the same options write
	// the same bytes.
	Send(ctx context.Context, o Object, opt SendOptions, w io.Writer) error
	// Receive makes the snapshot of a stream, and the Object when it is not here. A snapshot with that GUID that is there
	// already is success, and r is not read. ErrInUse when it would change what is mounted for a jail, ErrOriginMissing
	// when it stands on what is not here.
	Receive(ctx context.Context, o Object, opt ReceiveOptions, r io.Reader) error
	// ResumeToken is where a cut Receive of the snapshot guid can go on, "" for from the start.
	ResumeToken(ctx context.Context, o Object, guid string) (string, error)
	// AbortReceive throws away what a cut Receive has kept. None is success.
	AbortReceive(ctx context.Context, o Object) error
}
