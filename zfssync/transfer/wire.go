package transfer

import (
	"errors"
	"fmt"

	"github.com/rexcarcer/rexcarcer/zfssync"
)

// ALPN is the protocol's name in TLS, on the cluster's port. Below it is HTTP/1.1.
const ALPN = "rexcarcer-zfssync"

// The routes. Objects, snapshots and images are named in the query; answers are JSON, a stream of frames, or an index.
const (
	pathImage     = "/zfssync/v1/image"     // GET key, reads: Manifest
	pathSnapshots = "/zfssync/v1/snapshots" // GET kind, name: []zfssync.Snapshot; POST + snapshot: take; DELETE + snapshot: drop
	pathStream    = "/zfssync/v1/stream"    // GET kind, name, guid, from, resume, offset, prefix, zstd: frames
	pathChunks    = "/zfssync/v1/chunks"    // GET kind, name, guid, from: chunk.Index; POST + ranges: frames
)

// TemporaryPrefix begins the names of snapshots that a peer may take and drop here.
const TemporaryPrefix = "sync-"

// Manifest says what an image is made of.
type Manifest struct {
	Image  zfssync.Image      `json:"image"`
	Layers []zfssync.Snapshot `json:"layers"` // lowest first; each stands on the one before
}

// check refuses a manifest that is not a chain ending in the image key.
func (m Manifest) check(key string) error {
	below := zfssync.Snapshot{}
	for i, l := range m.Layers {
		if l.Object.Kind != zfssync.KindLayer || l.GUID == "" || l.Layer != below.Object.Name || l.Origin != below.GUID {
			return fmt.Errorf("layer %d of %d does not stand on the one before it", i+1, len(m.Layers))
		}
		below = l
	}
	if m.Image.Key != key || len(m.Layers) == 0 || m.Image.Top != below.Object.Name {
		return fmt.Errorf("it describes image %.30q with top layer %.30q, not %s", m.Image.Key, m.Image.Top, key)
	}
	return nil
}

// Codes of a RemoteError.
const (
	CodeNotFound = "not-found" // it has no such object, snapshot or image
	CodePrefix   = "prefix"    // its stream is another one, or cannot go on where asked: begin anew
	CodeFormat   = "format"    // it cannot write that stream
	CodeBusy     = "busy"      // it sends as many streams as it may
	CodeRefused  = "refused"   // this peer may not ask that
	CodeFailed   = "failed"    // anything else
)

// RemoteError is what a source answered.
type RemoteError struct {
	Source  string `json:"-"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Error names the source.
func (e *RemoteError) Error() string { return fmt.Sprintf("%s: %s", e.Source, e.Message) }

// Is makes errors.Is(err, zfssync.ErrNotFound) true for CodeNotFound, and likewise for formats.
func (e *RemoteError) Is(target error) bool {
	return e.Code == CodeNotFound && target == zfssync.ErrNotFound || e.Code == CodeFormat && target == zfssync.ErrFormat
}

func codeOf(err error) string {
	var r *RemoteError
	switch {
	case errors.As(err, &r):
		return r.Code
	case errors.Is(err, zfssync.ErrNotFound):
		return CodeNotFound
	case errors.Is(err, zfssync.ErrFormat), errors.Is(err, zfssync.ErrOriginMissing):
		return CodeFormat
	case errors.Is(err, errPrefix):
		return CodePrefix
	}
	return CodeFailed
}

// errPrefix: the stream that Send writes now does not begin like the one that the client has the beginning of.
var errPrefix = errors.New("the stream is not the one that was begun")
