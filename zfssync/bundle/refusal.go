package bundle

import "fmt"

// Reason says why something was refused, for programs and metrics.
type Reason string

// The reasons.
const (
	Unsigned      Reason = "unsigned"         // no signature at all
	Untrusted     Reason = "untrusted_signer" // signed, but by nobody who is trusted
	Expired       Reason = "expired_signer"   // the signer's certificate is not valid now
	BadSignature  Reason = "bad_signature"    // a trusted signer's signature does not fit
	Malformed     Reason = "malformed"        // one of the files is not what it should be
	ForeignName   Reason = "foreign_name"     // the hash file speaks of other files
	WrongHash     Reason = "wrong_hash"       // a file is not the one that was signed
	TrailingData  Reason = "trailing_data"    // bytes follow the end
	OlderVersion  Reason = "older_version"    // the cluster has had a newer one
	OtherContent  Reason = "other_content"    // not what was pinned, or another content of the same version
	Bomb          Reason = "bomb"             // unpacks to more than allowed
	Escape        Reason = "escape"           // a member leads out of the archive
	Device        Reason = "device"           // a device node where none is allowed
	WrongPlatform Reason = "wrong_platform"   // made for another system
)

// Refusal is the error for what must not become a base.
type Refusal struct {
	Name   string // of the bundle, as the user wrote it
	Reason Reason
	Text   string // what is wrong, and what to do about it
}

// Error implements error.
func (r *Refusal) Error() string { return fmt.Sprintf("%s: refused: %s", r.Name, r.Text) }

func refuse(name string, why Reason, format string, args ...any) *Refusal {
	return &Refusal{Name: name, Reason: why, Text: fmt.Sprintf(format, args...)}
}
