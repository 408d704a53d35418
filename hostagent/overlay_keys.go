package hostagent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"github.com/rexcarcer/rexcarcer/netd/mesh"
)

// overlayKeys are DATA/overlay.json: this host's private keys for the overlay, which are nowhere else.
type overlayKeys struct {
	Key  mesh.Key `json:"key"`
	Next mesh.Key `json:"next"` // zero: none follows yet
}

func overlayFile(dir string) string { return filepath.Join(dir, "overlay.json") }

// openOverlayKeys reads the keys, or makes the first. A damaged file is refused, not replaced: the admin shall know.
func openOverlayKeys(dir string, random io.Reader) (overlayKeys, error) {
	var k overlayKeys
	b, err := os.ReadFile(overlayFile(dir))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if k.Key, err = mesh.NewKey(random); err != nil {
			return k, err
		}
		return k, k.save(dir)
	case err == nil:
		err = json.Unmarshal(b, &k)
	}
	if err == nil && k.Key == (mesh.Key{}) {
		err = errors.New("it has no key")
	}
	if err != nil {
		return k, fmt.Errorf("read %s: %w: remove it, and this host makes itself a new key", overlayFile(dir), err)
	}
	return k, nil
}

func (k overlayKeys) save(dir string) error {
	b, err := json.Marshal(k)
	if err == nil {
		err = renameio.WriteFile(overlayFile(dir), append(b, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("keep the keys of the overlay: %w", err)
	}
	return nil
}

// next is the public key that is to follow, "" if none is.
func (k overlayKeys) next() string {
	if k.Next == (mesh.Key{}) {
		return ""
	}
	return k.Next.Public().String()
}
