package zfssync

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Plain is a Store that needs nothing but a directory, on any system: each layer, each clone is a whole copy. For trying
// things out, and for hosts without a pool; it keeps no snapshots and enforces no quota.
type Plain struct {
	layout

	cfg   Config
	keys  keyLocks
	lock  *os.File
	holds sync.RWMutex // read: a build needs layers; write: layers are removed
}

// OpenPlain opens the store in cfg.Dir and locks it for this process.
func OpenPlain(cfg Config) (*Plain, error) {
	if !filepath.IsAbs(cfg.Dir) {
		return nil, fmt.Errorf("store directory %q is not absolute", cfg.Dir)
	}
	cfg.Limits = cfg.Limits.withDefaults()
	p := &Plain{layout: layout{cfg.Dir}, cfg: cfg, keys: keyLocks{m: map[string]*keyLock{}}}
	if err := p.layout.make(); err != nil {
		return nil, err
	}
	var err error
	p.lock, err = takeLock(cfg.Dir)
	return p, err
}

const plainReason = "the store is a plain directory: give it a ZFS pool"

// Features implements Store.
func (p *Plain) Features() Features {
	return Features{
		Driver: "directory", MaxLayers: maxLayers, Format: FormatTar, Volatile: true,
		IDMapReason: plainReason, QuotaReason: plainReason, IncrementsReason: plainReason, ResumeReason: plainReason, AtomicReason: plainReason,
		Lacks: []string{"clones: each jail's root is a whole copy of its image", "snapshots and streams"},
	}
}

// HasImage implements Store.
func (p *Plain) HasImage(key string) bool {
	img, err := p.readImage(key)
	return err == nil && p.HasLayer(img.Top)
}

// Image implements Store.
func (p *Plain) Image(key string) (Image, error) {
	img, err := p.readImage(key)
	if err == nil && !p.HasLayer(img.Top) {
		err = fmt.Errorf("image %s: its layer %s is gone, build it again: %w", key, img.Top, ErrNotFound)
	}
	return img, err
}

// PutImage implements Store.
func (p *Plain) PutImage(_ context.Context, img Image) error {
	digest, err := digestOf(img.Key)
	if err != nil {
		return err
	}
	top, err := p.readLayer(img.Top)
	if err != nil {
		return fmt.Errorf("name image %s: %w", img.Key, err)
	}
	img.Bytes, img.Layers, img.CreatedAt = top.Bytes, 1+len(top.Chain), time.Now().UTC()
	return writeJSON(p.image(digest), img, true)
}

// RemoveImage implements Store. Lowest layers stay: they are dear to make.
func (p *Plain) RemoveImage(ctx context.Context, key string) error {
	digest, err := digestOf(key)
	if err != nil {
		return err
	}
	l, err := p.List(ctx)
	if err != nil {
		return err
	}
	for _, c := range l.Clones {
		if c.ImageKey == key {
			return fmt.Errorf("remove image %s: jail %s is made of it: %w", key, c.UUID, ErrInUse)
		}
	}
	if err := os.Remove(p.image(digest)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove image %s: %w", key, err)
	}
	var rest []string
	for _, img := range l.Images {
		if img.Key != key {
			rest = append(rest, img.Key)
		}
	}
	_, err = p.dropLayers(ctx, rest, true)
	return err
}

// dropLayers removes layers that no image of keep needs; as every layer is whole, the ones below are needed by nobody.
func (p *Plain) dropLayers(ctx context.Context, keep []string, bases bool) (removed []string, err error) {
	if !p.holds.TryLock() {
		return nil, nil // a build or a clone is at work; the next sweep takes them
	}
	defer p.holds.Unlock()
	needed := map[string]bool{}
	for _, key := range keep {
		img, err := p.readImage(key)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		needed[img.Top] = true
	}
	l, err := p.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, key := range l.Layers {
		m, err := p.readLayer(key)
		if err != nil || needed[key] || bases && len(m.Chain) == 0 {
			continue
		}
		digest, err := digestOf(key)
		if err == nil {
			err = p.discard(p.layer(digest))
		}
		if err != nil {
			return removed, fmt.Errorf("remove layer %s: %w", key, err)
		}
		removed = append(removed, "layer "+key)
	}
	return removed, nil
}

// discard renames what is at path out of the way, and removes it; what a crash leaves is swept. Mounts in it are those of
// a jail that has ended and whose driver was killed.
func (p *Plain) discard(path string) error {
	if err := unmountTree(resolved(path)); err != nil {
		return err
	}
	gone := filepath.Join(p.trash(), fmt.Sprintf("%s-%d", filepath.Base(path), time.Now().UnixNano()))
	if err := os.Rename(path, gone); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return Erase(gone)
}

// HasLayer implements Store.
func (p *Plain) HasLayer(key string) bool {
	_, err := p.readLayer(key)
	return err == nil
}

// Hold implements Store.
func (p *Plain) Hold() func() {
	p.holds.RLock()
	return sync.OnceFunc(p.holds.RUnlock)
}

// Base implements Store.
func (p *Plain) Base(ctx context.Context, ref, key string, progress Progress) error {
	unlock, err := p.keys.lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	if p.HasLayer(key) {
		return nil
	}
	stage, err := p.stage(key)
	if err != nil {
		return err
	}
	defer os.RemoveAll(stage)
	skip := append(slices.Clone(p.cfg.Hide), p.dir)
	if err := p.cfg.fillBase(ctx, filepath.Join(stage, "fs"), ref, skip, progress); err != nil {
		return fmt.Errorf("base %s: %w", ref, err)
	}
	return p.commit(ctx, stage, layer{Key: key, Base: ref})
}

// stage makes staging/<digest>-N/fs, empty.
func (p *Plain) stage(key string) (string, error) {
	digest, err := digestOf(key)
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(p.staging(), digest[:16]+"-")
	if err == nil {
		err = os.Mkdir(filepath.Join(dir, "fs"), 0o755)
	}
	if err != nil {
		return "", fmt.Errorf("stage layer %s: %w", key, err)
	}
	return dir, nil
}

// commit gives the staged layer its name.
func (p *Plain) commit(ctx context.Context, stage string, m layer) error {
	digest, err := digestOf(m.Key)
	if err != nil {
		return err
	}
	if m.Bytes, err = treeBytes(ctx, filepath.Join(stage, "fs")); err != nil {
		return fmt.Errorf("commit layer %s: %w", m.Key, err)
	}
	m.CreatedAt = time.Now().UTC()
	if err := writeJSON(filepath.Join(stage, "layer.json"), m, true); err != nil {
		return fmt.Errorf("commit layer %s: %w", m.Key, err)
	}
	if err := os.Rename(stage, p.layer(digest)); err != nil && !p.HasLayer(m.Key) {
		return fmt.Errorf("commit layer %s: %w", m.Key, err)
	}
	return nil
}

// treeBytes counts the blocks below dir.
func treeBytes(ctx context.Context, dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it vanished
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			total += st.Blocks * 512
		}
		return nil
	})
	return total, err
}

// BeginStep implements Store.
func (p *Plain) BeginStep(ctx context.Context, parent, key string, ids IDMap) (Build, error) {
	if !ids.IsZero() {
		return nil, fmt.Errorf("step above layer %s: id ranges: %s", parent, plainReason)
	}
	below, err := p.readLayer(parent)
	if err != nil {
		return nil, fmt.Errorf("step above layer %s: %w", parent, err)
	}
	digest, err := digestOf(parent)
	if err != nil {
		return nil, err
	}
	stage, err := p.stage(key)
	if err != nil {
		return nil, err
	}
	b := &plainBuild{p: p, stage: stage, layer: layer{Key: key, Chain: append([]string{parent}, below.Chain...)}}
	if err := copyExact(ctx, filepath.Join(p.layer(digest), "fs"), b.Root(), false); err != nil {
		return nil, errors.Join(fmt.Errorf("step above layer %s: %w", parent, err), b.Abort())
	}
	return b, nil
}

// plainBuild is a layer in the making.
type plainBuild struct {
	p     *Plain
	stage string
	layer layer
}

func (b *plainBuild) Root() string { return filepath.Join(b.stage, "fs") }

func (b *plainBuild) Commit(ctx context.Context) error { return b.CommitAs(ctx, b.layer.Key) }

func (b *plainBuild) CommitAs(ctx context.Context, key string) error {
	b.layer.Key = key
	return errors.Join(b.p.commit(ctx, b.stage, b.layer), b.Abort())
}

func (b *plainBuild) Abort() error { return Erase(b.stage) }

// none says why a snapshot is not there.
func (p *Plain) none(what string, o Object) error {
	return fmt.Errorf("%s %s: %s: %w", what, o, plainReason, ErrFormat)
}
