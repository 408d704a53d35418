package fsm

// Signer is a certificate whose signatures on bases count, everywhere in the
// cluster.
type Signer struct {
	Fingerprint string `json:"fingerprint"` // SHA-256 of the certificate, 64 hex digits
	Name        string `json:"name"`        // its subject, for people
	PEM         string `json:"pem"`
	NotBefore   Time   `json:"not_before"`
	NotAfter    Time   `json:"not_after"`
	TrustedAt   Time   `json:"trusted_at,omitempty"` // set by Apply
	TrustedBy   string `json:"trusted_by,omitempty"` // set by Apply
}

// Base is what a reference to a base was found to be: all hosts build with
// this content until it is pinned anew.
type Base struct {
	Ref      string `json:"ref"`               // as written after BASE
	Kind     string `json:"kind"`              // bundle, oci, freebsd
	Digest   string `json:"digest"`            // "sha256:<hex>"
	Version  uint64 `json:"version,omitempty"` // of a bundle
	Created  Time   `json:"created,omitempty"` // of a bundle
	Platform string `json:"platform,omitempty"`
	Signer   string `json:"signer,omitempty"`    // fingerprint; "" where only the digest stands for it
	SignedBy string `json:"signed_by,omitempty"` // the signer's name
	Bytes    int64  `json:"bytes,omitempty"`     // to fetch; 0 when unknown
	PinnedAt Time   `json:"pinned_at,omitempty"` // set by Apply

	Defaults *Defaults `json:"defaults,omitempty"` // of an OCI image: how it says that processes start
}

// Defaults say how processes start where neither the file nor the jail says it.
type Defaults struct {
	Env     []string `json:"env,omitempty"`     // NAME=value, in order
	Command []string `json:"command,omitempty"` // argv
	User    string   `json:"user,omitempty"`    // as a jail's user
	WorkDir string   `json:"workdir,omitempty"` // absolute
}

// TrustSigner makes a certificate's signatures count.
type TrustSigner struct {
	Signer Signer `json:"signer"`
}

// UntrustSigner takes that back. What was built stays.
type UntrustSigner struct {
	Fingerprint string `json:"fingerprint"`
}

// PinBase records what a reference means. A bundle that is older than the one
// that is pinned is refused with conflict.
type PinBase struct {
	Base      Base `json:"base"`
	Downgrade bool `json:"downgrade,omitempty"` // older on purpose
}

// UnpinBase forgets what a reference means, its version included.
type UnpinBase struct {
	Ref string `json:"ref"`
}

// RefuseBase tells that a host would not take a base. It changes nothing but
// history.
type RefuseBase struct {
	Ref    string `json:"ref"`
	Host   HostID `json:"host"`
	Reason string `json:"reason"` // a word, as untrusted_signer
	Text   string `json:"text"`   // what was wrong
}

// Kind implements Command for each of them.
func (TrustSigner) Kind() string   { return "trust_signer" }
func (UntrustSigner) Kind() string { return "untrust_signer" }
func (PinBase) Kind() string       { return "pin_base" }
func (UnpinBase) Kind() string     { return "unpin_base" }
func (RefuseBase) Kind() string    { return "refuse_base" }
