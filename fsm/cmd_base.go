package fsm

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits of what is remembered of bases.
const (
	maxSigners    = 64
	maxBases      = 10_000
	maxSignerPEM  = 32 << 10 // bytes
	maxSignerName = 256      // bytes
	maxBaseRef    = 4096     // bytes
	maxBaseText   = 4096     // bytes
	maxDefaults   = 64 << 10 // bytes of all texts together
)

func (c TrustSigner) decide(t *txn) *Refusal {
	s := c.Signer
	old, known := t.signers.get(s.Fingerprint)
	switch {
	case !validKey("sha256:" + s.Fingerprint):
		return refuse(CodeInvalid, "signer", "the fingerprint %.80q is not 64 hex digits", s.Fingerprint)
	case s.PEM == "" || len(s.PEM) > maxSignerPEM:
		return refuse(CodeInvalid, "signer "+s.Fingerprint, "its certificate has %d bytes, 1 to %d are allowed", len(s.PEM), maxSignerPEM)
	case !plainText(s.Name, maxSignerName):
		return refuse(CodeInvalid, "signer "+s.Fingerprint, "its name has control characters in it or is too long")
	case known && old.PEM == s.PEM:
		return nil
	case !known && t.signers.n >= maxSigners:
		return refuse(CodeExhausted, "signer "+s.Name, "%d signers are trusted already: take one away with `rexctl base untrust`", maxSigners)
	}
	s.TrustedAt, s.TrustedBy = t.s.Now, t.by
	t.emit(SignerTrusted{&s})
	return nil
}

func (c UntrustSigner) decide(t *txn) *Refusal {
	s, ok := t.signers.get(c.Fingerprint)
	if !ok {
		return refuse(CodeNotFound, "signer "+clipText(c.Fingerprint, 80), "is not trusted: list signers with `rexctl base ls --signers`")
	}
	t.emit(SignerUntrusted{s.Fingerprint, s.Name})
	return nil
}

func (c PinBase) decide(t *txn) *Refusal {
	b := c.Base
	object := "base " + clipText(b.Ref, 200)
	old, known := t.bases.get(b.Ref)
	switch {
	case b.Ref == "" || !b.plain():
		return refuse(CodeInvalid, object, "has control characters in it or is too long")
	case !validKey(b.Digest):
		return refuse(CodeInvalid, object, "the digest %.80q is not sha256: and 64 hex digits", b.Digest)
	case b.Signer != "" && !validKey("sha256:"+b.Signer):
		return refuse(CodeInvalid, object, "the fingerprint %.80q is not 64 hex digits", b.Signer)
	case b.Bytes < 0:
		return refuse(CodeInvalid, object, "its size %d is negative", b.Bytes)
	case !b.Defaults.sound():
		return refuse(CodeInvalid, object, "what it says of how processes start has zero bytes in it, a relative directory, or more than %d bytes", maxDefaults)
	case known && old.Digest == b.Digest && old.Signer == b.Signer && (b.Defaults == nil || old.Defaults != nil):
		return nil
	case known && !c.Downgrade && (b.Version < old.Version || b.Created < old.Created):
		return refuse(CodeConflict, object, "version %d of %s is older than what is pinned, version %d of %s: to go back on purpose: --allow-downgrade",
			b.Version, b.Created.Time().Format(time.DateOnly), old.Version, old.Created.Time().Format(time.DateOnly))
	case known && !c.Downgrade && b.Version > 0 && b.Version == old.Version && b.Digest != old.Digest:
		return refuse(CodeConflict, object, "version %d is pinned with another content: to take it all the same: --allow-downgrade", b.Version)
	case !known && t.bases.n >= maxBases:
		return refuse(CodeExhausted, object, "%d bases are pinned already: take some away with `rexctl base rm`", maxBases)
	}
	b.PinnedAt = t.s.Now
	t.emit(BasePinned{&b})
	return nil
}

func (c UnpinBase) decide(t *txn) *Refusal {
	if _, ok := t.bases.get(c.Ref); !ok {
		return refuse(CodeNotFound, "base "+clipText(c.Ref, 200), "is not pinned: list bases with `rexctl base ls`")
	}
	t.emit(BaseUnpinned(c))
	return nil
}

func (c RefuseBase) decide(t *txn) *Refusal {
	object := "base " + clipText(c.Ref, 200)
	switch _, known := t.hosts.get(string(c.Host)); {
	case !known:
		return refuse(CodeNotFound, "host "+string(c.Host), "is not known: it must register first")
	case !speaksFor(t.by, c.Host):
		return refuse(CodeFenced, object, "%s cannot say what host %s has refused", t.by, c.Host)
	case c.Ref == "" || !plainText(c.Ref, maxBaseRef) || !plainText(c.Reason, 64) || !plainText(c.Text, maxBaseText):
		return refuse(CodeInvalid, object, "has control characters in it or is too long")
	}
	t.emit(BaseRefused(c))
	return nil
}

// plain: its texts can be shown and stored.
func (b *Base) plain() bool {
	return plainText(b.Ref, maxBaseRef) && plainText(b.Kind, 32) && plainText(b.Digest, 80) && plainText(b.Platform, 64) &&
		plainText(b.Signer, 80) && plainText(b.SignedBy, maxSignerName)
}

// sound: its texts can be handed to execve(2) and are not too long.
func (d *Defaults) sound() bool {
	if d == nil {
		return true
	}
	total := 0
	for _, list := range [][]string{d.Env, d.Command, {d.User, d.WorkDir}} {
		for _, text := range list {
			if total += len(text) + 1; !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
				return false
			}
		}
	}
	return total <= maxDefaults && plainText(d.User, 256) && (d.WorkDir == "" || d.WorkDir[0] == '/')
}

// plainText: valid, printable, at most most bytes.
func plainText(s string, most int) bool {
	return len(s) <= most && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// clipText shortens s for a message.
func clipText(s string, most int) string {
	if len(s) > most {
		s = s[:most]
	}
	return strings.ToValidUTF8(s, "?")
}
