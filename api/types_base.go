package api

import (
	"context"
	"io"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// Bases is what a host can be asked about bases from elsewhere; see Host.
type Bases interface {
	// ReadSigner reads a signer's certificate (PEM).
	ReadSigner(text string) (fsm.Signer, error)
	// LookBase says what ref means now. No Digest: it is made on the host, or is an image. known is what it meant before,
	// nil for nothing; something older is an error unless downgrade.
	LookBase(ctx context.Context, ref string, known *fsm.Base, downgrade bool) (fsm.Base, error)
	// UploadBase keeps what a user sends as the base upload:NAME. next hands out the files until io.EOF.
	UploadBase(ctx context.Context, name string, next func() (file string, content io.Reader, err error)) error
	// ExportImage writes the root file system that a name means, packed by zstd, in the format tar or zfs; "" is that of the
	// host's storage. open is called once, before the first byte, with the format that was taken.
	ExportImage(ctx context.Context, name, format string, open func(format string) io.Writer) error
}

// PinRequest asks what a reference to a base means.
type PinRequest struct {
	Ref            string `json:"ref"`
	Update         bool   `json:"update,omitempty"`          // look again, also where it is pinned
	AllowDowngrade bool   `json:"allow_downgrade,omitempty"` // also an older one than before
	DryRun         bool   `json:"dry_run,omitempty"`         // look, and record nothing
}

// PinResult is what a reference to a base means.
type PinResult struct {
	Ref     string  `json:"ref"`
	Digest  string  `json:"digest"` // "" for what has none: an image, debian:SUITE, host:/, a directory, a tarball
	Changed bool    `json:"changed"`
	Origin  *Origin `json:"origin,omitempty"`
}

// Uploaded is a base that was sent.
type Uploaded struct {
	Ref string `json:"ref"` // what BASE can say
}

// Origin is who stands for a base from elsewhere.
type Origin struct {
	Ref      string    `json:"ref"`
	Kind     string    `json:"kind"` // bundle, oci, freebsd, upload
	Digest   string    `json:"digest"`
	Version  uint64    `json:"version,omitempty"`
	Created  time.Time `json:"created,omitzero"`
	Platform string    `json:"platform,omitempty"`
	Signer   string    `json:"signer,omitempty"`    // fingerprint; "" where only the digest stands for it
	SignedBy string    `json:"signed_by,omitempty"` // the signer's name
	Trusted  bool      `json:"trusted"`             // the signer is trusted now
}

// BaseRow is one reference that is pinned.
type BaseRow struct {
	Origin
	Bytes    int64     `json:"bytes,omitempty"` // to fetch
	PinnedAt time.Time `json:"pinned_at"`
	Images   []string  `json:"images"` // names that stand on it
}

// SignerRow is a certificate whose signatures on bases count.
type SignerRow struct {
	Name        string    `json:"name"`
	Fingerprint string    `json:"fingerprint"`
	NotBefore   time.Time `json:"not_before"`
	NotAfter    time.Time `json:"not_after"`
	TrustedAt   time.Time `json:"trusted_at,omitzero"`
	TrustedBy   string    `json:"trusted_by,omitempty"`
	PEM         string    `json:"pem"`
}

// SignerRequest is a certificate to trust.
type SignerRequest struct {
	PEM string `json:"pem"`
}

// Provenance is what an image is made of, down to whoever stands for its base.
type Provenance struct {
	Image      string      `json:"image,omitempty"`
	Key        string      `json:"key"`
	Base       string      `json:"base,omitempty"`
	BaseDigest string      `json:"base_digest,omitempty"`
	Steps      []string    `json:"steps"`
	Origin     *Origin     `json:"origin,omitempty"` // of the base, where it came from elsewhere
	Parent     *Provenance `json:"parent,omitempty"` // of the base, where it is an image
}

// ImageShow is one image name.
type ImageShow struct {
	ImageRow
	Provenance Provenance `json:"provenance"`
}
