package zfssync

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"
)

// maxLayers of one image: below the kernel's 500, and mount(2) before Linux 6.13 can name that many in one page.
const maxLayers = 127

// layer is layers/<digest>/layer.json.
type layer struct {
	Key       string    `json:"key"`
	Chain     []string  `json:"chain,omitempty"`     // keys below it, nearest first
	Base      string    `json:"base,omitempty"`      // what it was made from, for a lowest layer
	HostRoot  bool      `json:"host_root,omitempty"` // the host's root is below all
	Bytes     int64     `json:"bytes"`               // of this layer alone
	CreatedAt time.Time `json:"created_at"`
}

// layout knows where things are below the data directory.
type layout struct{ dir string }

func (l layout) layers() string             { return filepath.Join(l.dir, "layers") }
func (l layout) images() string             { return filepath.Join(l.dir, "images") }
func (l layout) jails() string              { return filepath.Join(l.dir, "jails") }
func (l layout) volumes() string            { return filepath.Join(l.dir, "volumes") }
func (l layout) staging() string            { return filepath.Join(l.dir, "staging") }
func (l layout) trash() string              { return filepath.Join(l.dir, "trash") }
func (l layout) jail(uuid string) string    { return filepath.Join(l.jails(), uuid) }
func (l layout) root(uuid string) string    { return filepath.Join(l.jails(), uuid, "root") }
func (l layout) upper(uuid string) string   { return filepath.Join(l.jails(), uuid, "rw", "upper") }
func (l layout) work(uuid string) string    { return filepath.Join(l.jails(), uuid, "rw", "work") }
func (l layout) volume(id VolumeID) string  { return filepath.Join(l.volumes(), string(id)) }
func (l layout) layer(digest string) string { return filepath.Join(l.layers(), digest) }
func (l layout) image(digest string) string { return filepath.Join(l.images(), digest+".json") }

// make creates the directories. A jail with a user namespace must reach its root, so the way there may be passed by all;
// what lies beside it may not: layers and written files hold setuid programs that belong to the host's ids on disk.
func (l layout) make() error {
	for _, d := range []struct {
		path string
		mode fs.FileMode
	}{
		{l.dir, 0o711},
		{l.jails(), 0o711},
		{l.layers(), 0o700},
		{l.images(), 0o700},
		{l.volumes(), 0o700},
		{l.staging(), 0o711},
		{l.trash(), 0o700},
	} {
		if err := os.MkdirAll(d.path, d.mode); err != nil {
			return fmt.Errorf("make directory of the store: %w", err)
		}
		if err := os.Chmod(d.path, d.mode); err != nil {
			return fmt.Errorf("make directory of the store: %w", err)
		}
	}
	return nil
}

// readLayer returns ErrNotFound for a layer that is not committed.
func (l layout) readLayer(key string) (layer, error) {
	digest, err := digestOf(key)
	if err != nil {
		return layer{}, err
	}
	var m layer
	if err := readJSON(filepath.Join(l.layer(digest), "layer.json"), &m); err != nil {
		return layer{}, fmt.Errorf("layer %s: %w", key, err)
	}
	if m.Key != key {
		return layer{}, fmt.Errorf("layer %s: its record says %q; remove %s and build again", key, m.Key, l.layer(digest))
	}
	return m, nil
}

// readImage returns ErrNotFound for an image that is not there.
func (l layout) readImage(key string) (Image, error) {
	digest, err := digestOf(key)
	if err != nil {
		return Image{}, err
	}
	var img Image
	if err := readJSON(l.image(digest), &img); err != nil {
		return Image{}, fmt.Errorf("image %s: %w", key, err)
	}
	return img, nil
}

// listImages adds the images that have a record.
func listImages(at layout, l *Listing) error {
	entries, err := os.ReadDir(at.images())
	if err != nil {
		return err
	}
	for _, e := range entries {
		digest, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok || !hexRE.MatchString(digest) {
			continue
		}
		img, err := at.readImage(keyPrefix + digest)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		l.Images = append(l.Images, img)
	}
	return nil
}

// stack is what layer Key stands on.
type stack struct {
	lowers []string // directories, highest first
	chain  []string // keys below the top one, nearest first
	host   bool     // the host's root is below all
}

// stackOf returns the layers of key.
func (l layout) stackOf(key string) (stack, error) {
	top, err := l.readLayer(key)
	if err != nil {
		return stack{}, err
	}
	s := stack{chain: top.Chain, host: top.HostRoot}
	for _, k := range append([]string{key}, top.Chain...) {
		digest, err := digestOf(k)
		if err != nil {
			return stack{}, err
		}
		s.lowers = append(s.lowers, filepath.Join(l.layer(digest), "fs"))
	}
	return s, nil
}

// readJSON turns absence into ErrNotFound.
func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotFound
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

// writeJSON replaces path at once when durable; otherwise it may be cut off by a crash, and is written in place.
func writeJSON(path string, v any, durable bool) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	b = append(b, '\n')
	write := os.WriteFile
	if durable {
		write = func(path string, b []byte, mode fs.FileMode) error { return renameio.WriteFile(path, b, mode) }
	}
	if err := write(path, b, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
