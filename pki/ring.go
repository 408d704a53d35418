package pki

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/renameio/v2"
)

// Why a host cannot sign.
var (
	ErrLocked = errors.New("the CA's key is sealed and this server has not been told the passphrase: `rexctl ca unlock` here")
	ErrNoKey  = errors.New("this host does not have the key of the CA that signs")
)

// Trusted is one CA that a cluster trusts.
type Trusted struct {
	PEM    []byte // its certificate, self-signed
	Behind []byte // PEM that follows what it signs
}

// Ring is what a host holds of its cluster's CAs, on disk and in memory: the
// certificates that it trusts, and on servers their keys, sealed or not. It may
// be used from many goroutines. Handshakes read it without a lock.
type Ring struct {
	dir     string
	cluster string
	random  io.Reader
	now     atomic.Pointer[ringNow]

	mu   sync.Mutex
	list []Trusted       // guarded by mu; the one that signs first
	keys map[string]file // guarded by mu; by public key
	pass []byte          // guarded by mu; empty: keys are in the clear, or locked
}

// ringNow is what follows from list and keys; immutable.
type ringNow struct {
	pool   *x509.CertPool
	text   []byte
	signer *CA
	why    error // why signer is nil
}

// file is one key on disk.
type file struct {
	path  string
	text  []byte // as it lies there
	plain []byte // PEM in the clear, nil while it is locked
}

const (
	chainFile = "ca.chain" // Trusted.Behind of the first of ca.crt
	keyGlob   = "ca*.key"
)

// FoundRing is OpenRing for a host that founds a cluster if it has none yet.
func FoundRing(dir, cluster string, now time.Time, random io.Reader, passphrase []byte) (*Ring, error) {
	_, err := os.Stat(filepath.Join(dir, caCertFile))
	if errors.Is(err, fs.ErrNotExist) {
		_, err = OpenCA(dir, cluster, now, random)
	}
	if err != nil {
		return nil, err
	}
	r, err := OpenRing(dir, random, passphrase)
	if err != nil {
		return nil, err
	}
	if len(r.keys) == 0 {
		return nil, fmt.Errorf("open the CA: %s is there but its key is not: restore %s from a backup", filepath.Join(dir, caCertFile), caKeyFile)
	}
	return r, nil
}

// OpenRing reads what dir holds. passphrase opens sealed keys and seals the
// others; with none they stay locked until Unlock, and one that is wrong is an
// error.
func OpenRing(dir string, random io.Reader, passphrase []byte) (*Ring, error) {
	r := &Ring{dir: dir, random: random, keys: map[string]file{}}
	text, err := os.ReadFile(filepath.Join(dir, caCertFile))
	if err != nil {
		return nil, fmt.Errorf("open the CA: %w", err)
	}
	certs, err := ParseChain(text)
	if err != nil {
		return nil, fmt.Errorf("open the CA: %s: %w", caCertFile, err)
	}
	for _, cert := range certs {
		r.list = append(r.list, Trusted{PEM: encodeCerts(cert)})
	}
	if len(certs[0].URIs) != 1 {
		return nil, fmt.Errorf("open the CA: certificate %q is not a cluster CA", certs[0].Subject)
	}
	r.cluster = certs[0].URIs[0].Host // NewCA puts it there
	if r.list[0].Behind, err = os.ReadFile(filepath.Join(dir, chainFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open the CA: %w", err)
	}
	if err := r.readKeys(); err != nil {
		return nil, err
	}
	if len(passphrase) > 0 { // what is in the clear is sealed from now on
		if err := r.Unlock(passphrase); err != nil {
			return nil, fmt.Errorf("open the CA: %w", err)
		}
		if err := r.Seal(passphrase); err != nil {
			return nil, fmt.Errorf("open the CA: %w", err)
		}
	}
	return r, r.publish()
}

func (r *Ring) readKeys() error {
	names, err := filepath.Glob(filepath.Join(r.dir, keyGlob))
	if err != nil {
		return fmt.Errorf("open the CA: %w", err)
	}
	for _, path := range names {
		text, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("open the CA: %w", err)
		}
		owner, err := keyOwner(text)
		if err != nil {
			return fmt.Errorf("open the CA: %s: %w", path, err)
		}
		f := file{path: path, text: text}
		if !IsSealed(text) {
			if _, err := loadKey(path, text); err != nil { // its mode counts
				return fmt.Errorf("open the CA: %w", err)
			}
			f.plain = text
		}
		r.keys[owner] = f
	}
	return nil
}

// publish makes what handshakes and signatures see. It is called with mu held,
// or before anybody else has r.
func (r *Ring) publish() error {
	now := &ringNow{pool: x509.NewCertPool(), why: ErrNoKey}
	for _, t := range r.list {
		certs, err := ParseChain(t.PEM)
		if err != nil {
			return fmt.Errorf("trust a CA: %w", err)
		}
		now.pool.AddCert(certs[0])
		now.text = append(now.text, t.PEM...)
	}
	now.signer, now.why = r.signer(r.list[0])
	r.now.Store(now)
	return nil
}

// signer is the CA of t if its key is here and open.
func (r *Ring) signer(t Trusted) (*CA, error) {
	certs, err := ParseChain(t.PEM)
	if err != nil {
		return nil, err
	}
	owner, err := publicID(certs[0].PublicKey)
	if err != nil {
		return nil, err
	}
	f, ok := r.keys[owner]
	switch {
	case !ok:
		return nil, ErrNoKey
	case f.plain == nil:
		return nil, ErrLocked
	}
	key, err := ParseKey(f.plain)
	if err != nil {
		return nil, err
	}
	ca, err := LoadCA(t.PEM, key, r.random)
	if err != nil {
		return nil, err
	}
	return ca.Behind(t.Behind), nil
}

// Cluster is the name that the CAs sign for.
func (r *Ring) Cluster() string { return r.cluster }

// Roots are the CAs that are trusted now.
func (r *Ring) Roots() *x509.CertPool { return r.now.Load().pool }

// PEM is the same as text, the one that signs first. The caller must not
// change it.
func (r *Ring) PEM() []byte { return r.now.Load().text }

// Signer is the CA that signs, or why this host cannot: ErrLocked, ErrNoKey.
func (r *Ring) Signer() (*CA, error) {
	now := r.now.Load()
	return now.signer, now.why
}

// Presents tells whether id has a certificate of the CA that signs, with all
// behind it that belongs there.
func (r *Ring) Presents(id *Identity) bool {
	r.mu.Lock()
	first := r.list[0]
	r.mu.Unlock()
	certs, err := ParseChain(first.PEM)
	if err != nil || id.Leaf().CheckSignatureFrom(certs[0]) != nil {
		return false
	}
	return bytes.Equal(id.Chain(), append(encodeCerts(id.Leaf()), first.Behind...))
}

// Trust makes list what is trusted, the one that signs first, on disk before
// in memory. Keys of CAs that are trusted no longer are removed.
func (r *Ring) Trust(list []Trusted) error {
	if len(list) == 0 {
		return errors.New("trust no CA at all: refused")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var text []byte
	owners := map[string]bool{}
	for _, t := range list {
		certs, err := ParseChain(t.PEM)
		if err != nil {
			return fmt.Errorf("trust a CA: %w", err)
		}
		owner, err := publicID(certs[0].PublicKey)
		if err != nil {
			return fmt.Errorf("trust a CA: %w", err)
		}
		text, owners[owner] = append(text, t.PEM...), true
	}
	for name, want := range map[string][]byte{chainFile: list[0].Behind, caCertFile: text} {
		if err := r.keep(name, want); err != nil {
			return err
		}
	}
	before := r.list
	r.list = list
	if err := r.publish(); err != nil {
		return err
	}
	return r.forget(before, owners)
}

// forget removes the keys of CAs that were trusted and are not now. A key that
// was never trusted may be about to be; after a while it is a leftover.
func (r *Ring) forget(before []Trusted, owners map[string]bool) error {
	was := map[string]bool{}
	for _, t := range before {
		if owner, err := certOwner(t.PEM); err == nil {
			was[owner] = true
		}
	}
	for owner, f := range r.keys {
		info, err := os.Stat(f.path)
		if owners[owner] || !was[owner] && (err != nil || time.Since(info.ModTime()) < leftover) {
			continue
		}
		if err := os.Remove(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the key of a CA that has retired: %w", err)
		}
		delete(r.keys, owner)
	}
	return nil
}

const leftover = time.Hour

// keep writes a file if it is not so already.
func (r *Ring) keep(name string, want []byte) error {
	path := filepath.Join(r.dir, name)
	have, err := os.ReadFile(path)
	if err == nil && bytes.Equal(have, want) || errors.Is(err, fs.ErrNotExist) && len(want) == 0 {
		return nil
	}
	if err := renameio.WriteFile(path, want, 0o644, renameio.IgnoreUmask()); err != nil {
		return fmt.Errorf("keep %s: %w", name, err)
	}
	return nil
}

// Sign is the CA of a certificate that is trusted or not, whose key is here:
// for a CA that is to be trusted.
func (r *Ring) Sign(certPEM []byte) (*CA, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.signer(Trusted{PEM: certPEM})
}
