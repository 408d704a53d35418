package bundle

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Papers are the small files of a bundle, as they were found.
type Papers struct {
	Name       string            // of the bundle
	Hashes     []byte            // NAME.sha256
	Meta       []byte            // NAME.base
	Signatures map[string][]byte // NAME.sha256sig.*: by fingerprint
}

// Verified is what a trusted signer says of a payload.
type Verified struct {
	Meta   Meta
	Signer Signer
}

// Verify checks the papers against the signers that are trusted, at the time now. A nil error means: whoever holds
// Verified.Meta.Size bytes with Verified.Meta.Digest has what the Signer signed. Errors are of type *Refusal.
func (p Papers) Verify(trusted []Signer, now time.Time) (Verified, error) {
	if err := ValidName(p.Name); err != nil {
		return Verified{}, refuse(p.Name, Malformed, "%v", err)
	}
	s, err := p.Signer(trusted, now)
	if err != nil {
		return Verified{}, err
	}
	h, err := ParseHashes(p.Name, p.Hashes)
	if err != nil {
		return Verified{}, err
	}
	if sum(p.Meta) != h.MetaDigest {
		return Verified{}, refuse(p.Name, WrongHash, "%s%s is not the file that %s signed: fetch it again, or ask who signed it", p.Name, MetaSuffix, s.Subject)
	}
	m, err := ParseMeta(p.Meta)
	if err != nil {
		return Verified{}, refuse(p.Name, Malformed, "%s%s: %v", p.Name, MetaSuffix, err)
	}
	switch {
	case m.Name != p.Name:
		return Verified{}, refuse(p.Name, ForeignName, "%s%s is of a bundle called %s", p.Name, MetaSuffix, m.Name)
	case m.Payload != h.Payload || m.Digest != "sha256:"+h.PayloadDigest:
		return Verified{}, refuse(p.Name, WrongHash, "%s%s and %s%s do not mean the same payload", p.Name, MetaSuffix, p.Name, HashSuffix)
	}
	return Verified{m, s}, nil
}

// Signer finds a trusted one whose signature over the hash file is good. Nothing else of the papers is looked at.
func (p Papers) Signer(trusted []Signer, now time.Time) (Signer, error) {
	if len(p.Signatures) == 0 {
		return Signer{}, refuse(p.Name, Unsigned, "there is no %s%sFINGERPRINT of a trusted signer beside it: %s", p.Name, SigSuffix, trustHint(trusted))
	}
	worst := refuse(p.Name, Untrusted, "it is signed by %s, whom nobody trusts: %s", prints(p.Signatures), trustHint(trusted))
	for _, s := range trusted {
		sig, ok := p.Signatures[s.Fingerprint]
		if !ok {
			continue
		}
		if err := s.valid(now); err != nil {
			if worst.Reason == Untrusted {
				worst = refuse(p.Name, Expired, "it is signed by %s, but %v", s.Subject, err)
			}
			continue
		}
		if err := s.check(p.Hashes, sig); err != nil {
			worst = refuse(p.Name, BadSignature, "the signature of %s does not fit %s%s: the file was changed, or signed in another way (%v)", s.Subject, p.Name, HashSuffix, err)
			continue
		}
		return s, nil
	}
	return Signer{}, worst
}

func trustHint(trusted []Signer) string {
	if len(trusted) == 0 {
		return "no signer is trusted yet; if you trust the one who made it: rexctl base trust SIGNER.crt"
	}
	return fmt.Sprintf("%d signers are trusted (rexctl base ls --signers); to trust another: rexctl base trust SIGNER.crt", len(trusted))
}

func prints(sigs map[string][]byte) string {
	var all []string
	for f := range sigs {
		all = append(all, short(f))
	}
	if len(all) > 1 {
		return fmt.Sprintf("%d signers", len(all))
	}
	return strings.Join(all, "")
}

func short(fingerprint string) string {
	if len(fingerprint) > 16 {
		return fingerprint[:16]
	}
	return fingerprint
}

// Known is what is remembered of a base that was taken before.
type Known struct {
	Version uint64
	Created time.Time
	Digest  string
}

// After reports why a bundle may not follow on known: an older one must not come back by itself, and one version has one
// content. downgrade is the operator's word that it may. Errors are of type *Refusal.
func (v Verified) After(known Known, downgrade bool) error {
	m := v.Meta
	if downgrade || known.Digest == "" || m.Digest == known.Digest {
		return nil
	}
	switch {
	case m.Version < known.Version:
		return refuse(m.Name, OlderVersion, "version %d is older than %d, which was here before; to go back on purpose: --allow-downgrade", m.Version, known.Version)
	case m.Created.Before(known.Created):
		return refuse(m.Name, OlderVersion, "it was made on %s, before the one that was here (%s); to go back on purpose: --allow-downgrade",
			m.Created.Format(time.DateTime), known.Created.UTC().Format(time.DateTime))
	case m.Version == known.Version:
		return refuse(m.Name, OtherContent, "version %d has another content than before: its maker must raise the version; to take it all the same: --allow-downgrade", m.Version)
	}
	return nil
}

// IsRefusal says whether err is one, and which.
func IsRefusal(err error) (*Refusal, bool) { return errors.AsType[*Refusal](err) }
