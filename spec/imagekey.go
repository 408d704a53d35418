package spec

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
)

// Keys are digests over length-prefixed parts, so that no two different lists
// of inputs are one text.

func digestOf(parts ...string) string {
	h := sha256.New()
	var size [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(size[:], uint64(len(p)))
		h.Write(size[:])
		h.Write([]byte(p))
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// BaseKey is the key of a base that no image of the same Wish is called.
func BaseKey(base string) string { return digestOf("base", base) }

// BaseKey is the key of the image's base where that is no image: of its text, and of its content where that is pinned.
func (m *Image) BaseKey() string {
	if m.BaseDigest == "" {
		return BaseKey(m.Base)
	}
	return digestOf("base", m.Base, m.BaseDigest)
}

// StepKey is the key of the layer that s makes on top of the layer with the
// key parent. The line, the text and the key in s do not count.
func StepKey(parent string, s Step) string {
	parts := []string{"step", parent, string(s.Kind), s.Run, s.Digest, s.Dst, fmt.Sprint(len(s.Src))}
	parts = append(parts, s.Src...)
	if s.Owner != "" { // came later: steps without one keep their keys
		parts = append(parts, "owner", s.Owner)
	}
	return digestOf(appendEnv(parts, s.Env)...)
}

// ImageKey is the key of m on top of a base with the key base: the last
// step's key and what a jail takes over from the image. The name, the .rex
// file's name and line numbers do not count.
func ImageKey(base string, m Image) string {
	last := base
	for _, s := range m.Steps {
		last = StepKey(last, s)
	}
	parts := appendEnv([]string{"image", last, m.Host, m.Addr.String(), fmt.Sprint(m.SSH), fmt.Sprint(len(m.Command))}, m.Env)
	parts = append(parts, m.Command...)
	parts = append(parts, fmt.Sprint(len(m.Volumes)))
	parts = append(parts, m.Volumes...)
	for _, s := range m.Service {
		parts = append(parts, s.Name, fmt.Sprint(s.Port), s.Proto)
	}
	return digestOf(parts...)
}

func appendEnv(parts []string, env []EnvVar) []string {
	parts = append(parts, fmt.Sprint(len(env)))
	for _, e := range env {
		parts = append(parts, e.Name, e.Value)
	}
	return parts
}

// sealKeys fills in the Key of each image and step. It returns a circle of
// bases if there is one.
func sealKeys(images []Image) (cycle []string) {
	byName := make(map[string]*Image, len(images))
	names := make([]string, 0, len(images))
	uses := make(map[string][]string)
	for i := range images {
		byName[images[i].Name] = &images[i]
		names = append(names, images[i].Name)
	}
	for i := range images {
		if byName[images[i].Base] != nil {
			uses[images[i].Name] = []string{images[i].Base}
		}
	}
	if cycle := findCycle(names, func(n string) []string { return uses[n] }); cycle != nil {
		return cycle
	}
	for _, n := range topological(names, uses) {
		m := byName[n]
		key := m.BaseKey()
		if base := byName[m.Base]; base != nil {
			key = base.Key
		}
		m.seal(key)
	}
	return nil
}

// seal fills in the keys of one image on a base with the key base.
func (m *Image) seal(base string) {
	m.Key = ImageKey(base, *m)
	for i := range m.Steps {
		base = StepKey(base, m.Steps[i])
		m.Steps[i].Key = base
	}
}

// Seal fills in the keys of the images, and of the jails that use them, as
// Parse does; for whoever makes a Wish by hand.
func (w *Wish) Seal() error {
	if cycle := sealKeys(w.Images); cycle != nil {
		return fmt.Errorf("the images are based on each other in a circle: %s", joinArrows(cycle))
	}
	keys := make(map[string]string, len(w.Images))
	for _, m := range w.Images {
		keys[m.Name] = m.Key
	}
	for i := range w.Jails {
		if k, ok := keys[w.Jails[i].Image]; ok {
			w.Jails[i].ImageKey = k
		}
	}
	return nil
}

// ErrForgedKey says that a key is not that of the image's own inputs. Layers are
// cached by key, so such a Wish could put its content under another's key.
var ErrForgedKey = errors.New("an image's key does not fit its content")

// VerifyKeys computes all keys again and compares.
func (w *Wish) VerifyKeys() error {
	again := make([]Image, len(w.Images))
	keys := make(map[string]string, len(w.Images))
	for i, m := range w.Images {
		again[i] = m
		again[i].Steps = append([]Step(nil), m.Steps...)
	}
	if cycle := sealKeys(again); cycle != nil {
		return fmt.Errorf("the images are based on each other in a circle: %s", joinArrows(cycle))
	}
	for i, m := range again {
		if m.Key != w.Images[i].Key {
			return fmt.Errorf("image %q: %w: want %s", clip(m.Name), ErrForgedKey, m.Key)
		}
		keys[m.Name] = m.Key
		for k, s := range m.Steps {
			if s.Key != w.Images[i].Steps[k].Key {
				return fmt.Errorf("image %q: step %d: %w: want %s", clip(m.Name), k+1, ErrForgedKey, s.Key)
			}
		}
	}
	for i := range w.Jails {
		if k, ok := keys[w.Jails[i].Image]; ok && k != w.Jails[i].ImageKey {
			return fmt.Errorf("jail %q: %w: want %s", clip(w.Jails[i].Name), ErrForgedKey, k)
		}
	}
	return nil
}
