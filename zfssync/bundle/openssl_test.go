package bundle_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/testenv"
	"github.com/rexcarcer/rexcarcer/zfssync/bundle"
)

// opensslKeys are how each kind of key is made and used by hand.
var opensslKeys = []struct{ name, generate, sign, verify string }{
	{"rsa", "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048", "dgst -sha256 -sign me.key -out SIG b.sha256", "dgst -sha256 -verify me.pub -signature SIG b.sha256"},
	{"ecdsa", "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256", "dgst -sha256 -sign me.key -out SIG b.sha256", "dgst -sha256 -verify me.pub -signature SIG b.sha256"},
	{"ed25519", "genpkey -algorithm ED25519", "pkeyutl -sign -rawin -inkey me.key -in b.sha256 -out SIG", "pkeyutl -verify -rawin -pubin -inkey me.pub -in b.sha256 -sigfile SIG"},
}

type shell struct {
	t   *testing.T
	dir string
}

func (s shell) openssl(line string) string {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), "openssl", strings.Fields(line)...)
	cmd.Dir = s.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("openssl %s: %v\n%s", line, err, out)
	}
	return string(out)
}

func (s shell) write(name string, b []byte) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), b, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s shell) read(name string) []byte {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

func newShell(t *testing.T, generate string) shell {
	s := shell{t, t.TempDir()}
	s.openssl(generate + " -out me.key")
	s.openssl("req -new -x509 -key me.key -out me.crt -days 30 -subj /CN=me")
	return s
}

// TestPlainOpensslMakesBundles: everything but NAME.base comes out of openssl.
func TestPlainOpensslMakesBundles(t *testing.T) {
	t.Parallel()
	testenv.RequireTool(t, "openssl")
	for _, k := range opensslKeys {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			s := newShell(t, k.generate)
			s.write("b.tar.zst", payload)
			digest := sha256.Sum256(payload)
			s.write("b.base", fmt.Appendf(nil, "rexcarcer-base: 1\n# by hand\nname: b\nversion: 1\ncreated: 2026-11-22T12:00:00Z\nplatform: linux/amd64\npayload: b.tar.zst\nsize: %d\ndigest: sha256:%s\n",
				len(payload), hex.EncodeToString(digest[:])))
			s.openssl("dgst -sha256 -out b.sha256 b.tar.zst b.base")
			mark := strings.ToLower(strings.ReplaceAll(strings.TrimSpace(strings.SplitN(s.openssl("x509 -in me.crt -noout -fingerprint -sha256"), "=", 2)[1]), ":", ""))
			s.openssl(strings.ReplaceAll(k.sign, "SIG", "b.sha256sig."+mark))

			signer, err := bundle.ParseSigner(s.read("me.crt"))
			if err != nil || signer.Fingerprint != mark {
				t.Fatalf("fingerprint %q, %v, openssl says %q", signer.Fingerprint, err, mark)
			}
			p := bundle.Papers{Name: "b", Hashes: s.read("b.sha256"), Meta: s.read("b.base"), Signatures: map[string][]byte{mark: s.read("b.sha256sig." + mark)}}
			if _, err := p.Verify([]bundle.Signer{signer}, time.Now()); err != nil {
				t.Errorf("what openssl signed is refused: %v\n%s", err, p.Hashes)
			}
			// OpenSSL before 3 names the digest otherwise.
			s.write("b.sha256", []byte(strings.ReplaceAll(string(p.Hashes), "SHA2-256(", "SHA256(")))
			s.openssl(strings.ReplaceAll(k.sign, "SIG", "old.sig"))
			p.Hashes, p.Signatures[mark] = s.read("b.sha256"), s.read("old.sig")
			if _, err := p.Verify([]bundle.Signer{signer}, time.Now()); err != nil {
				t.Errorf("what OpenSSL 1.1 would sign is refused: %v\n%s", err, p.Hashes)
			}
		})
	}
}

func TestPlainOpensslVerifiesOurs(t *testing.T) {
	t.Parallel()
	testenv.RequireTool(t, "openssl")
	for _, k := range opensslKeys {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			s := newShell(t, k.generate)
			s.openssl("x509 -in me.crt -pubkey -noout -out me.pub")
			key, err := bundle.ParseKey(s.read("me.crt"), s.read("me.key"))
			if err != nil {
				t.Fatal(err)
			}
			s.write("b.tar.zst", payload)
			files, err := bundle.Sign(meta("b"), key)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				s.write(f.Name, f.Content)
			}
			s.openssl(strings.ReplaceAll(k.verify, "SIG", files[2].Name))
			if got, want := s.openssl("dgst -sha256 b.tar.zst b.base"), string(s.read("b.sha256")); got != want {
				t.Errorf("openssl prints\n%swe wrote\n%s", got, want)
			}
		})
	}
}

func TestKeysOfOlderFormsAreRead(t *testing.T) {
	t.Parallel()
	testenv.RequireTool(t, "openssl")
	s := newShell(t, "ecparam -name prime256v1 -genkey") // SEC 1, behind "EC PARAMETERS"
	if _, err := bundle.ParseKey(s.read("me.crt"), s.read("me.key")); err != nil {
		t.Errorf("SEC 1: %v", err)
	}
	s.openssl("pkcs8 -topk8 -in me.key -out secret.key -passout pass:x")
	if _, err := bundle.ParseKey(s.read("me.crt"), s.read("secret.key")); err == nil || !strings.Contains(err.Error(), "passphrase") {
		t.Errorf("a key with a passphrase: got %v", err)
	}
}
