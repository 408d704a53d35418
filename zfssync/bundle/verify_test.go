package bundle_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rexcarcer/rexcarcer/zfssync/bundle"
)

func TestSignedBundleIsVerified(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"rsa", "ecdsa", "ed25519"} {
		k := newKey(t, "alice", kind, time.Hour*48)
		got, err := signed(t, meta("debian12"), k).Verify([]bundle.Signer{k.Signer}, today)
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		if diff := cmp.Diff(meta("debian12"), got.Meta); diff != "" || got.Signer.Subject != "alice" {
			t.Errorf("%s: signer %q, meta (-want +got):\n%s", kind, got.Signer.Subject, diff)
		}
	}
}

// TestCase37EachFlawIsRefused: nothing but what a trusted signer signed gets through, and the reason is told.
func TestCase37EachFlawIsRefused(t *testing.T) {
	t.Parallel()
	alice, bob := newKey(t, "alice", "ecdsa", 48*time.Hour), newKey(t, "bob", "ed25519", 48*time.Hour)
	short := newKey(t, "short", "ecdsa", time.Hour) // ended yesterday
	resign := func(p *bundle.Papers, text string) {
		sig, err := alice.Sign([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		p.Hashes, p.Signatures[alice.Signer.Fingerprint] = []byte(text), sig
	}
	for name, tt := range map[string]struct {
		change func(p *bundle.Papers)
		want   bundle.Reason
		text   string
	}{
		"no signature":        {func(p *bundle.Papers) { p.Signatures = nil }, bundle.Unsigned, "rexctl base trust"},
		"by a stranger":       {func(p *bundle.Papers) { *p = signed(t, meta("debian12"), bob) }, bundle.Untrusted, "nobody trusts"},
		"by an expired one":   {func(p *bundle.Papers) { *p = signed(t, meta("debian12"), short) }, bundle.Expired, "ended on"},
		"signature changed":   {func(p *bundle.Papers) { p.Signatures[alice.Signer.Fingerprint][9] ^= 1 }, bundle.BadSignature, "alice"},
		"signature of others": {func(p *bundle.Papers) { p.Signatures[alice.Signer.Fingerprint] = []byte("x") }, bundle.BadSignature, ""},
		"hash changed":        {func(p *bundle.Papers) { p.Hashes = bytes.Replace(p.Hashes, []byte("= "), []byte("= 0"), 1) }, bundle.BadSignature, ""},
		"data after the hashes": {func(p *bundle.Papers) {
			p.Hashes = append(p.Hashes, '\n')
		}, bundle.BadSignature, ""},
		"signed data after the hashes": {func(p *bundle.Papers) { resign(p, string(p.Hashes)+"hello\n") }, bundle.Malformed, "openssl dgst"},
		"another file's hash": {func(p *bundle.Papers) {
			resign(p, string(p.Hashes)+"SHA2-256(passwd)= "+strings.Repeat("0", 64)+"\n")
		}, bundle.ForeignName, "passwd"},
		"a file in a directory": {func(p *bundle.Papers) {
			resign(p, strings.ReplaceAll(string(p.Hashes), "(debian12.base)", "(../debian12.base)"))
		}, bundle.ForeignName, "../debian12.base"},
		"twice the payload": {func(p *bundle.Papers) {
			resign(p, string(p.Hashes)+"SHA2-256(debian12.zfs.zst)= "+strings.Repeat("0", 64)+"\n")
		}, bundle.ForeignName, "zfs"},
		"no payload":      {func(p *bundle.Papers) { resign(p, strings.SplitAfter(string(p.Hashes), "\n")[1]) }, bundle.Malformed, "one line for the payload"},
		"empty hash file": {func(p *bundle.Papers) { resign(p, "") }, bundle.Malformed, "one line"},
		"meta changed":    {func(p *bundle.Papers) { p.Meta = bytes.Replace(p.Meta, []byte("version: 7"), []byte("version: 8"), 1) }, bundle.WrongHash, "debian12.base"},
		"meta gone":       {func(p *bundle.Papers) { p.Meta = nil }, bundle.WrongHash, ""},
		"bundle of another name": {func(p *bundle.Papers) {
			p.Name = "debian13"
		}, bundle.ForeignName, "debian12"},
		"a name that climbs": {func(p *bundle.Papers) { p.Name = "../debian12" }, bundle.Malformed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := signed(t, meta("debian12"), alice)
			tt.change(&p)
			_, err := p.Verify([]bundle.Signer{alice.Signer, short.Signer}, today)
			r, ok := bundle.IsRefusal(err)
			if !ok || r.Reason != tt.want || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v, want a refusal because of %s that says %q", err, tt.want, tt.text)
			}
		})
	}
}

func TestOneGoodSignatureIsEnough(t *testing.T) {
	t.Parallel()
	alice, bob := newKey(t, "alice", "ecdsa", 48*time.Hour), newKey(t, "bob", "ed25519", 48*time.Hour)
	p := signed(t, meta("debian12"), alice, bob)
	got, err := p.Verify([]bundle.Signer{bob.Signer}, today)
	if err != nil || got.Signer.Subject != "bob" {
		t.Errorf("got %q, %v, want bob's word to count", got.Signer.Subject, err)
	}
	p.Signatures[bob.Signer.Fingerprint] = []byte("damaged")
	if got, err = p.Verify([]bundle.Signer{bob.Signer, alice.Signer}, today); err != nil || got.Signer.Subject != "alice" {
		t.Errorf("got %q, %v, want alice's word to count where bob's is damaged", got.Signer.Subject, err)
	}
}

func TestCase38OlderBundlesComeBackOnlyWhenAsked(t *testing.T) {
	t.Parallel()
	known := bundle.Known{Version: 7, Created: today, Digest: "sha256:" + strings.Repeat("1", 64)}
	older, earlier, same, newer := meta("debian12"), meta("debian12"), meta("debian12"), meta("debian12")
	older.Version = 6
	earlier.Version, earlier.Created = 8, today.Add(-time.Hour)
	newer.Version, newer.Created = 8, today.Add(time.Hour)
	for _, tt := range []struct {
		name string
		m    bundle.Meta
		want bundle.Reason
	}{
		{"older version", older, bundle.OlderVersion},
		{"higher version that was made earlier", earlier, bundle.OlderVersion},
		{"same version, other content", same, bundle.OtherContent},
		{"newer", newer, ""},
	} {
		err := bundle.Verified{Meta: tt.m}.After(known, false)
		r, _ := bundle.IsRefusal(err)
		if tt.want == "" && err != nil || tt.want != "" && (r == nil || r.Reason != tt.want || !strings.Contains(r.Text, "--allow-downgrade")) {
			t.Errorf("%s: got %v, want reason %q", tt.name, err, tt.want)
		}
		if err := (bundle.Verified{Meta: tt.m}).After(known, true); err != nil {
			t.Errorf("%s, on purpose: got %v", tt.name, err)
		}
	}
	known.Digest = meta("debian12").Digest
	if err := (bundle.Verified{Meta: older}).After(known, false); err != nil {
		t.Errorf("the very content that is here: got %v", err)
	}
}

func TestKeysAndCertificatesAreCheckedWhenTheyAreRead(t *testing.T) {
	t.Parallel()
	k := newKey(t, "alice", "ecdsa", time.Hour)
	for name, text := range map[string]string{
		"nothing":          "",
		"a key":            "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n",
		"two certificates": k.Signer.PEM() + k.Signer.PEM(),
		"damaged":          strings.Replace(k.Signer.PEM(), "MI", "II", 1),
		"too long":         strings.Repeat(" ", bundle.MaxCert+1),
	} {
		if _, err := bundle.ParseSigner([]byte(text)); err == nil {
			t.Errorf("%s: taken as a certificate", name)
		}
	}
	other := newKey(t, "bob", "ecdsa", time.Hour)
	if _, err := bundle.ParseKey([]byte(k.Signer.PEM()), []byte(other.Signer.PEM())); err == nil {
		t.Error("a certificate was taken as a key")
	}
}

func FuzzParsers(f *testing.F) {
	k := newKey(f, "alice", "ed25519", time.Hour)
	p := signed(f, meta("debian12"), k)
	f.Add(p.Hashes)
	f.Add(p.Meta)
	f.Add([]byte(k.Signer.PEM()))
	f.Add([]byte("rexcarcer-base: 1\nname: a\nversion: 1\ncreated: 2026-01-01T00:00:00Z\nplatform: a/b\npayload: a.zfs\nsize: 1\ndigest: sha256:" + strings.Repeat("a", 64) + "\nx-mine: 1\n# end\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if m, err := bundle.ParseMeta(text); err == nil {
			again, err := bundle.ParseMeta(m.Encode())
			if err != nil || again != m {
				t.Errorf("%q: read as %+v, written and read again %+v, %v", text, m, again, err)
			}
		}
		if h, err := bundle.ParseHashes("debian12", text); err == nil {
			again, err := bundle.ParseHashes("debian12", h.Encode("debian12"))
			if err != nil || again != h {
				t.Errorf("%q: read as %+v, written and read again %+v, %v", text, h, again, err)
			}
		}
		_, _ = bundle.ParseSigner(text)
	})
}
