package transfer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/zfssync"
)

// memStore is a Store whose snapshots are strings of bytes, or endless noise of which only the sum is kept.
type memStore struct {
	mu       sync.Mutex
	snaps    map[zfssync.Object][]memSnap
	images   map[string]zfssync.Image
	format   zfssync.Format
	partial  map[zfssync.Object][]byte // what a cut Receive keeps, when format is ZFS
	received []string                  // "all of ..." or "... from ..."
	sent     int64                     // bytes that Send wrote
	fail     func(step string) error   // called at each step of Receive
}

type memSnap struct {
	zfssync.Snapshot
	blob blob
}

// blob is content: seed and size of noise, or bytes.
type blob struct {
	data []byte
	seed uint64
	size int64
	sum  string
}

func (b blob) reader() io.Reader {
	if b.data != nil || b.size == 0 {
		return bytes.NewReader(b.data)
	}
	return io.LimitReader(rand.NewChaCha8([32]byte{byte(b.seed), byte(b.seed >> 8)}), b.size)
}

func (b blob) digest() string {
	if b.sum != "" {
		return b.sum
	}
	h := sha256.New()
	_, _ = io.Copy(h, b.reader())
	return hex.EncodeToString(h.Sum(nil))
}

func newMem(format zfssync.Format) *memStore {
	return &memStore{snaps: map[zfssync.Object][]memSnap{}, images: map[string]zfssync.Image{}, format: format, partial: map[zfssync.Object][]byte{}}
}

func key(n int) string { return "sha256:" + strings.Repeat(strconv.Itoa(n%10), 64) }

func layerObject(n int) zfssync.Object {
	return zfssync.Object{Kind: zfssync.KindLayer, Name: key(n)}
}

// addImage makes an image of layers 1..n; each holds size bytes of its own.
func (m *memStore) addImage(n, size int) string {
	below := zfssync.Snapshot{}
	for i := 1; i <= n; i++ {
		s := zfssync.Snapshot{
			Object: layerObject(i), Name: zfssync.LayerSnapshot, GUID: "g-" + key(i), Origin: below.GUID, Layer: below.Object.Name, Bytes: int64(size),
			Format: m.format, CreatedAt: time.Unix(int64(i), 0).UTC(),
		}
		if i == 1 {
			s.Base = "debian:bookworm"
		}
		m.snaps[s.Object] = []memSnap{{s, blob{data: noise(uint64(i), size)}}}
		below = s
	}
	k := "sha256:" + strings.Repeat("a", 64)
	m.images[k] = zfssync.Image{Key: k, Top: below.Object.Name, Name: "web", Layers: n}
	return k
}

// add makes a snapshot of an object without origin.
func (m *memStore) add(o zfssync.Object, name string, b blob) zfssync.Snapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := zfssync.Snapshot{Object: o, Name: name, GUID: "g-" + o.Name + "-" + name, Bytes: max(b.size, int64(len(b.data))), Format: m.format}
	m.snaps[o] = append(m.snaps[o], memSnap{s, b})
	return s
}

func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), 1}).Read(b)
	return b
}

func (m *memStore) Features() zfssync.Features {
	return zfssync.Features{Driver: "memory", Format: m.format, Resume: m.format == zfssync.FormatZFS}
}

func (m *memStore) HasImage(key string) bool { _, err := m.Image(key); return err == nil }

func (m *memStore) Image(key string) (zfssync.Image, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	img, ok := m.images[key]
	if !ok {
		return img, fmt.Errorf("image %s: %w", key, zfssync.ErrNotFound)
	}
	return img, nil
}

func (m *memStore) PutImage(_ context.Context, img zfssync.Image) error {
	if _, err := m.Layer(img.Top); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.images[img.Key] = img
	return nil
}

func (m *memStore) Layer(k string) (zfssync.LayerInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	info := zfssync.LayerInfo{Key: k}
	for at := k; at != ""; {
		list := m.snaps[zfssync.Object{Kind: zfssync.KindLayer, Name: at}]
		if len(list) == 0 {
			return info, fmt.Errorf("layer %s: %w", at, zfssync.ErrNotFound)
		}
		if at != k {
			info.Parents = append(info.Parents, at)
		}
		at = list[0].Layer
	}
	return info, nil
}

func (m *memStore) Hold() func() { return func() {} }

func (m *memStore) List(context.Context) (l zfssync.Listing, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for o := range m.snaps {
		if o.Kind == zfssync.KindLayer {
			l.Layers = append(l.Layers, o.Name)
		}
	}
	slices.Sort(l.Layers)
	return l, nil
}

func (m *memStore) Snapshots(_ context.Context, o zfssync.Object) (out []zfssync.Snapshot, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.snaps[o] {
		out = append(out, s.Snapshot)
	}
	return out, nil
}

func (m *memStore) TakeSnapshot(_ context.Context, o zfssync.Object, name string) (zfssync.Snapshot, error) {
	m.mu.Lock()
	list := m.snaps[o]
	m.mu.Unlock()
	if len(list) == 0 {
		return zfssync.Snapshot{}, fmt.Errorf("%s: %w", o, zfssync.ErrNotFound)
	}
	return m.add(o, name, list[len(list)-1].blob), nil
}

func (m *memStore) DropSnapshot(_ context.Context, o zfssync.Object, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.snaps[o] = slices.DeleteFunc(m.snaps[o], func(s memSnap) bool { return s.Name == name })
	return nil
}

func (m *memStore) Rollback(context.Context, zfssync.Object, string, zfssync.RollbackOptions) error {
	return errors.ErrUnsupported
}

func (m *memStore) HoldSnapshot(context.Context, zfssync.Object, string) (func(), error) {
	return func() {}, nil
}

// wantSame fails unless both stores hold the same content as a snapshot.
func wantSame(t testing.TB, a, b *memStore, o zfssync.Object, guid string) {
	t.Helper()
	get := func(m *memStore) string {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, s := range m.snaps[o] {
			if s.GUID == guid {
				return s.blob.digest()
			}
		}
		return "nothing"
	}
	if x, y := get(a), get(b); x != y || x == "nothing" {
		t.Fatalf("%s: it came as %s, want %s", o, y, x)
	}
}
