package pki

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// Key is the key of the CA certPEM in the clear, to be given to another
// server: ErrLocked or ErrNoKey where it cannot.
func (r *Ring) Key(certPEM []byte) ([]byte, error) {
	owner, err := certOwner(certPEM)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	f, ok := r.keys[owner]
	switch {
	case !ok:
		return nil, ErrNoKey
	case f.plain == nil:
		return nil, ErrLocked
	}
	return bytes.Clone(f.plain), nil
}

// Holds tells whether the key of the CA certPEM is on this host's disk.
func (r *Ring) Holds(certPEM []byte) bool {
	owner, err := certOwner(certPEM)
	if err != nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.keys[owner]
	return ok
}

func certOwner(certPEM []byte) (string, error) {
	certs, err := ParseChain(certPEM)
	if err != nil {
		return "", err
	}
	return publicID(certs[0].PublicKey)
}

// Put keeps the key of the CA certPEM, for good before it returns; sealed if
// the others are. A key that belongs to another CA is an error.
func (r *Ring) Put(certPEM, keyPEM []byte) error {
	owner, err := certOwner(certPEM)
	if err != nil {
		return fmt.Errorf("keep the key of a CA: %w", err)
	}
	if have, err := keyOwner(keyPEM); err != nil || have != owner {
		return errors.Join(errors.New("keep the key of a CA: it is not the key of that CA"), err)
	}
	id, err := CAID(certPEM)
	if err != nil {
		return fmt.Errorf("keep the key of a CA: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.keys[owner]; ok {
		return nil
	}
	if r.sealed() && len(r.pass) == 0 {
		return ErrLocked // in the clear beside sealed ones it would undo them
	}
	f := file{path: filepath.Join(r.dir, "ca-"+id+".key"), plain: keyPEM}
	if err := f.write(r.pass); err != nil {
		return err
	}
	r.keys[owner] = f
	return r.publish()
}

// write puts f on disk, sealed under pass if there is one.
func (f *file) write(pass []byte) error {
	f.text = f.plain
	if len(pass) > 0 {
		var err error
		if f.text, err = SealKey(f.plain, pass); err != nil {
			return err
		}
	}
	if err := renameio.WriteFile(f.path, f.text, 0o600, renameio.IgnoreUmask()); err != nil {
		return fmt.Errorf("keep the key of a CA: %w", err)
	}
	return nil
}

// sealed: some key is. Between the steps of Seal some may not be yet.
func (r *Ring) sealed() bool {
	for _, f := range r.keys {
		if IsSealed(f.text) {
			return true
		}
	}
	return false
}

// Sealed tells whether keys are sealed on disk, and locked whether one of them
// has not been opened since this process began.
func (r *Ring) Sealed() (sealed, locked bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.keys {
		locked = locked || f.plain == nil
	}
	return r.sealed(), locked
}

// Unlock opens what passphrase opens, ErrPassphrase if that is nothing. Keys
// that are in the clear beside it (a Seal that was interrupted) are sealed as
// well; those under another passphrase stay locked.
func (r *Ring) Unlock(passphrase []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	sealed, opened := 0, 0
	for owner, f := range r.keys {
		if !IsSealed(f.text) {
			continue
		}
		sealed++
		plain, err := OpenKey(f.text, passphrase)
		if err != nil {
			continue
		}
		opened++
		f.plain = plain
		r.keys[owner] = f
	}
	switch {
	case sealed == 0:
		return nil
	case opened == 0:
		return ErrPassphrase
	}
	r.pass = bytes.Clone(passphrase)
	for owner, f := range r.keys {
		if IsSealed(f.text) {
			continue
		}
		if err := f.write(r.pass); err != nil {
			return err
		}
		r.keys[owner] = f
	}
	return r.publish()
}

// Seal encrypts all keys on disk under passphrase; with an empty one they are
// written in the clear. They must be open. An interrupted Seal is done again.
func (r *Ring) Seal(passphrase []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.keys {
		if f.plain == nil {
			return ErrLocked
		}
	}
	for owner, f := range r.keys {
		if err := f.write(passphrase); err != nil {
			return err
		}
		r.keys[owner] = f
	}
	r.pass = bytes.Clone(passphrase)
	return r.publish()
}
