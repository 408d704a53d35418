package fsm

import "fmt"

// Events of bases and of who is trusted to sign them.
type (
	// SignerTrusted: the certificate's signatures count.
	SignerTrusted struct {
		Signer *Signer `json:"signer"`
	}
	// SignerUntrusted: they count no longer.
	SignerUntrusted struct {
		Fingerprint string `json:"fingerprint"`
		Name        string `json:"name"`
	}
	// BasePinned: the reference means this now.
	BasePinned struct {
		Base *Base `json:"base"`
	}
	// BaseUnpinned: what it means is found out anew.
	BaseUnpinned struct {
		Ref string `json:"ref"`
	}
	// BaseRefused: a host would not take it. Only history knows.
	BaseRefused struct {
		Ref    string `json:"ref"`
		Host   HostID `json:"host"`
		Reason string `json:"reason"`
		Text   string `json:"text"`
	}
)

// Kind implements Event for each of them: its name for ever.
func (SignerTrusted) Kind() string   { return "signer_trusted" }
func (SignerUntrusted) Kind() string { return "signer_untrusted" }
func (BasePinned) Kind() string      { return "base_pinned" }
func (BaseUnpinned) Kind() string    { return "base_unpinned" }
func (BaseRefused) Kind() string     { return "base_refused" }

// Object implements Event: noun, blank, name.
func (e SignerTrusted) Object() string   { return "signer " + e.Signer.Name }
func (e SignerUntrusted) Object() string { return "signer " + e.Name }
func (e BasePinned) Object() string      { return "base " + e.Base.Ref }
func (e BaseUnpinned) Object() string    { return "base " + e.Ref }
func (e BaseRefused) Object() string     { return "base " + e.Ref }

// Why implements Event: the reason for people.
func (e SignerTrusted) Why() string   { return e.Signer.Fingerprint }
func (e SignerUntrusted) Why() string { return e.Fingerprint }
func (e BaseUnpinned) Why() string    { return "" }
func (e BaseRefused) Why() string {
	return fmt.Sprintf("%s on host %s: %s", e.Reason, e.Host, e.Text)
}

// Why says the content and who stands for it.
func (e BasePinned) Why() string {
	why := e.Base.Digest
	if e.Base.Version > 0 {
		why = fmt.Sprintf("version %d, %s", e.Base.Version, why)
	}
	if e.Base.SignedBy != "" {
		why += ", signed by " + e.Base.SignedBy
	}
	return why
}

func (e SignerTrusted) evolve(t *txn)   { t.signers.put(e.Signer.Fingerprint, e.Signer) }
func (e SignerUntrusted) evolve(t *txn) { t.signers.del(e.Fingerprint) }
func (e BasePinned) evolve(t *txn)      { t.bases.put(e.Base.Ref, e.Base) }
func (e BaseUnpinned) evolve(t *txn)    { t.bases.del(e.Ref) }
func (BaseRefused) evolve(*txn)         {}
