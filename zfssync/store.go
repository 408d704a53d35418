package zfssync

import (
	"context"
	"errors"
	"time"
)

// Errors on which callers branch; every other error is final for the call.
var (
	// ErrNotFound: there is no such image, layer, base or volume here.
	ErrNotFound = errors.New("not found")
	// ErrInUse: something else stands on it.
	ErrInUse = errors.New("in use")
)

// Store keeps layers, images, clones and volumes of one host. All methods may be called concurrently.
//
// Keys are "sha256:<64 hex digits>"; uuids are 8-4-4-4-12 hex digits in lower case; both are checked at the door.
type Store interface {
	// Features says what this store can do here, and why not where it cannot.
	Features() Features

	// HasImage reports whether key names a complete image.
	HasImage(key string) bool
	// Image describes an image; ErrNotFound.
	Image(key string) (Image, error)
	// PutImage names layer img.Top as image img.Key; Bytes, Layers and CreatedAt are filled in. Twice is harmless.
	PutImage(ctx context.Context, img Image) error
	// RemoveImage forgets an image and its layers that no other image and no clone needs; ErrInUse while a clone exists.
	RemoveImage(ctx context.Context, key string) error

	// HasLayer reports whether the layer key is committed.
	HasLayer(key string) bool
	// Base makes the lowest layer key from ref: "debian:SUITE", "host:/", a directory or a tarball. Nothing happens
	// when the layer exists. progress may be nil.
	Base(ctx context.Context, ref, key string, progress Progress) error
	// Hold keeps layers from being removed until release is called: a build holds while it goes from step to step.
	Hold() (release func())
	// BeginStep mounts a writable root above layer parent, to become layer key. The caller must Commit or Abort.
	BeginStep(ctx context.Context, parent, key string, ids IDMap) (Build, error)

	// Clone mounts a writable view of an image for the jail uuid and returns its root. With the same arguments it
	// returns the same root again, also after Unmount or a reboot (what a Volatile clone had written is then gone).
	Clone(ctx context.Context, imageKey, uuid string, o CloneOptions) (root string, err error)
	// Bind mounts a directory of the host, or a volume's, at a place of the jail uuid's own, with the jail's ids.
	Bind(ctx context.Context, uuid, name, source string, o BindOptions) (path string, err error)
	// Unmount takes down what Clone and Bind mounted for uuid, and keeps the data.
	Unmount(ctx context.Context, uuid string) error
	// Destroy removes the clone of uuid with all that it wrote. Volumes stay.
	Destroy(ctx context.Context, uuid string) error

	// Volume returns the directory of a volume, made empty (root, 0755) when it is new. quotaBytes 0 is none; see
	// Features.Quota.
	Volume(ctx context.Context, id VolumeID, quotaBytes int64) (path string, err error)
	// DestroyVolume removes a volume and its content; ErrInUse while it is bound anywhere.
	DestroyVolume(ctx context.Context, id VolumeID) error
	// VolumeInfo describes a volume; ErrNotFound. Counting its bytes ends with ctx.
	VolumeInfo(ctx context.Context, id VolumeID) (VolumeInfo, error)

	// Streams: snapshots, and moving them between hosts.
	Streams
	// Layer describes a committed layer; ErrNotFound.
	Layer(key string) (LayerInfo, error)

	// List tells what is here.
	List(ctx context.Context) (Listing, error)
	// Sweep removes leftovers of crashes, clones that keep does not name, and, when keep names images, layers that none
	// of those and no clone needs. Volumes are never swept. It returns what it removed, for the log.
	Sweep(ctx context.Context, keep Keep) (removed []string, err error)
	// Teardown unmounts everything of ours below the data directory, and keeps the data.
	Teardown(ctx context.Context) error
	// Close releases descriptors. Mounts stay.
	Close() error
}

// Build is one layer in the making.
type Build interface {
	// Root is the mounted root file system, writable.
	Root() string
	// Commit unmounts Root, makes the layer durable and gives it its name. After an error the step is aborted.
	Commit(ctx context.Context) error
	// CommitAs is Commit under another key: what a step that failed has left, for people to look into.
	CommitAs(ctx context.Context, key string) error
	// Abort leaves nothing behind. After Commit it does nothing, so it can be deferred.
	Abort() error
}

// Progress gets one line of output at a time, without line end.
type Progress func(line string)

// Features of a Store on this host. Reasons are for people, "" when the feature is there.
type Features struct {
	Driver         string `json:"driver"`                    // "overlayfs", "zfs" or "simulated"
	IDMap          bool   `json:"idmap"`                     // each clone can have its own range of user ids
	IDMapReason    string `json:"idmap_reason,omitempty"`    // why not
	Volatile       bool   `json:"volatile"`                  // throw-away clones skip syncing
	VolatileReason string `json:"volatile_reason,omitempty"` // why not
	Quota          bool   `json:"quota"`                     // quotas of volumes are enforced
	QuotaReason    string `json:"quota_reason,omitempty"`    // why not
	MaxLayers      int    `json:"max_layers"`                // of one image
	LayerFDs       bool   `json:"layer_fds"`                 // layers are handed to the kernel as descriptors (Linux 6.13)

	Format           Format `json:"format"`                      // of streams that Send writes
	Increments       bool   `json:"increments"`                  // Send can begin at an older snapshot of the same volume or jail
	IncrementsReason string `json:"increments_reason,omitempty"` // why not
	Resume           bool   `json:"resume"`                      // a cut Receive can go on by a token
	ResumeReason     string `json:"resume_reason,omitempty"`     // why not
	Atomic           bool   `json:"atomic"`                      // a snapshot of what is being written to is one moment's state
	AtomicReason     string `json:"atomic_reason,omitempty"`     // why not

	Version string   `json:"version,omitempty"` // of the storage system's tools
	Lacks   []string `json:"lacks,omitempty"`   // what they lack here, and what is done instead
}

// IDMap is the range of the host's user and group ids that ids 0..Size-1 of a jail become. The zero value is none: the
// jail's root is the host's.
type IDMap struct {
	HostBase uint32 `json:"host_base,omitempty"`
	Size     uint32 `json:"size,omitempty"` // 0, or 1..2^31
}

// IsZero reports whether ids stay as they are.
func (m IDMap) IsZero() bool { return m.Size == 0 }

// CloneOptions say how a jail's root is mounted.
type CloneOptions struct {
	Volatile bool  `json:"volatile,omitempty"` // lost at unmount and reboot; creation and removal do not sync the disk
	IDMap    IDMap `json:"idmap,omitzero"`
}

// BindOptions say how Bind mounts.
type BindOptions struct {
	ReadOnly bool
	IDMap    IDMap
}

// VolumeID names a volume: lower-case letters, digits, '.', '_' and '-', at most 128, beginning with a letter or digit.
type VolumeID string

// Image is a root file system that can be cloned, and how its processes are started.
type Image struct {
	Key       string    `json:"key"`
	Top       string    `json:"top"` // key of the highest layer
	Name      string    `json:"name,omitempty"`
	Base      string    `json:"base"` // as written after BASE
	Env       []string  `json:"env,omitempty"`
	Command   []string  `json:"command,omitempty"`
	User      string    `json:"user,omitempty"`    // of processes, where the jail names none
	WorkDir   string    `json:"workdir,omitempty"` // absolute
	Steps     []string  `json:"steps,omitempty"`   // the lines as written
	Bytes     int64     `json:"bytes"`             // of all layers, on disk
	Layers    int       `json:"layers"`
	CreatedAt time.Time `json:"created_at"`
}

// Clone is one jail's root, as List tells.
type Clone struct {
	UUID     string       `json:"uuid"`
	ImageKey string       `json:"image_key"` // "" when a crash came before it was recorded
	Options  CloneOptions `json:"options"`
	Mounted  bool         `json:"mounted"`
	Root     string       `json:"root"`
}

// Listing is what a Store holds; every list is sorted.
type Listing struct {
	Images    []Image
	Layers    []string // keys
	Clones    []Clone
	Volumes   []VolumeID
	Leftovers []string // paths in staging and trash that no running build owns
}

// Keep tells Sweep what is wanted.
type Keep struct {
	Jails     []string // uuids
	AllJails  bool     // leave clones alone, whatever Jails says
	Images    []string // image keys; nil leaves images and layers alone
	BaseOfAll bool     // with Images: keep base layers, which are dear to make
}
