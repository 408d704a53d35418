package api

import (
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

// ImageRow is one image name.
type ImageRow struct {
	Name    string       `json:"name"`
	Key     string       `json:"key"`
	Base    string       `json:"base"`
	Steps   int          `json:"steps"`
	Wish    string       `json:"wish,omitempty"`
	Hosts   []fsm.HostID `json:"hosts"` // that hold it
	Bytes   int64        `json:"bytes"`
	BuiltAt time.Time    `json:"built_at,omitzero"`
	Jails   int          `json:"jails"` // that use it

	BaseDigest string `json:"base_digest,omitempty"` // where the base is pinned
	SignedBy   string `json:"signed_by,omitempty"`   // who signed the base that it stands on
}

// BuildRow is one built key.
type BuildRow struct {
	Key     string       `json:"key"`
	Hosts   []fsm.HostID `json:"hosts"`
	Bytes   int64        `json:"bytes"`
	BuiltAt time.Time    `json:"built_at"`
}

// BuildEvent is progress of an image build.
type BuildEvent struct {
	Step  int    `json:"step"`            // from 1; 0: the base
	Steps int    `json:"steps"`           // how many there are
	State string `json:"state"`           // start, output, cached, done
	Text  string `json:"text,omitempty"`  // the line as written, or the output
	Line  int    `json:"line,omitempty"`  // in the .rex file
	Bytes int64  `json:"bytes,omitempty"` // done of Total, where known
	Total int64  `json:"total,omitempty"`
}

// BuildResult is a finished build.
type BuildResult struct {
	Key    string `json:"key"`
	Bytes  int64  `json:"bytes"`
	Cached int    `json:"cached"` // steps that were there already
	Built  int    `json:"built"`  // steps that ran
	// Kept is the image that a failed step has left, under a name of its own.
	Kept *spec.Image `json:"-"`
}

// BuildLine is one line of the answer to a build: exactly one field is set, but for Kept.
type BuildLine struct {
	Progress *BuildEvent  `json:"progress,omitempty"`
	Result   *BuildResult `json:"result,omitempty"`
	Error    *Error       `json:"error,omitempty"`
	Kept     *spec.Image  `json:"kept,omitempty"` // with Error, of a host that ?host named: what the step left, still without a name
}
