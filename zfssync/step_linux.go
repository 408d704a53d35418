package zfssync

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// step is one layer in the making, in staging/<name>/{layer/fs,work,root}.
type step struct {
	o    *Overlay
	dir  string
	meta layer

	mu   sync.Mutex // guards done: Abort may come from a deferred call beside a timeout
	done bool
}

func (s *step) Root() string  { return filepath.Join(s.dir, "root") }
func (s *step) layer() string { return filepath.Join(s.dir, "layer") }
func (s *step) fs() string    { return filepath.Join(s.dir, "layer", "fs") }

// HasLayer implements Store.
func (o *Overlay) HasLayer(key string) bool {
	_, err := o.readLayer(key)
	return err == nil
}

// Hold implements Store.
func (o *Overlay) Hold() func() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.holds++
	return sync.OnceFunc(func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.holds--
	})
}

// BeginStep implements Store.
func (o *Overlay) BeginStep(ctx context.Context, parent, key string, ids IDMap) (Build, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := o.needIDMap(ids); err != nil {
		return nil, err
	}
	below, err := o.stackOf(parent)
	if err != nil {
		return nil, fmt.Errorf("begin layer %s: parent: %w", key, err)
	}
	if len(below.lowers)+1 > maxLayers {
		return nil, fmt.Errorf("begin layer %s: an image has at most %d layers: join RUN lines by &&", key, maxLayers)
	}
	s, err := o.stage(key)
	if err != nil {
		return nil, err
	}
	s.meta.Chain, s.meta.HostRoot = append([]string{parent}, below.chain...), below.host
	if err := s.mountAbove(below, ids); err != nil {
		return nil, errors.Join(fmt.Errorf("begin layer %s: %w", key, err), s.Abort())
	}
	return s, nil
}

// stage makes an empty place for a layer.
func (o *Overlay) stage(key string) (*step, error) {
	if _, err := digestOf(key); err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	dir, err := os.MkdirTemp(o.staging(), "step-")
	if err != nil {
		return nil, fmt.Errorf("begin layer %s: %w", key, err)
	}
	o.active[dir] = true
	s := &step{o: o, dir: dir, meta: layer{Key: key}}
	if err := os.Chmod(dir, 0o711); err != nil {
		return nil, fmt.Errorf("begin layer %s: %w", key, err)
	}
	for _, d := range []struct {
		path string
		mode fs.FileMode
	}{{s.layer(), 0o700}, {s.fs(), 0o755}, {filepath.Join(dir, "work"), 0o700}, {s.Root(), 0o755}} {
		if err := os.Mkdir(d.path, d.mode); err != nil {
			return nil, fmt.Errorf("begin layer %s: %w", key, err)
		}
	}
	return s, nil
}

func (s *step) mountAbove(below stack, ids IDMap) error {
	if err := sameRoot(s.fs(), below.lowers[0]); err != nil {
		return err
	}
	// Volatile: what is worth keeping is synced once, at Commit.
	return s.o.mount(overlayMount{
		name: "rexcarcer-build", target: s.Root(), lowers: below.lowers, host: below.host,
		upper: s.fs(), work: filepath.Join(s.dir, "work"), volatile: s.o.feat.Volatile,
	}, ids)
}

// Commit implements Build.
func (s *step) Commit(ctx context.Context) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		return fmt.Errorf("commit layer %s: it is committed or aborted already", s.meta.Key)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("commit layer %s: %w", s.meta.Key, err)
		}
		err = errors.Join(err, s.drop())
	}()
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.o.unmountBelow(s.dir); err != nil {
		return err
	}
	if s.meta.Bytes, err = diskUsage(s.fs()); err != nil {
		return err
	}
	s.meta.CreatedAt = time.Now().UTC()
	if err := writeJSON(filepath.Join(s.layer(), "layer.json"), s.meta, false); err != nil {
		return err
	}
	if err := syncFS(s.layer()); err != nil {
		return err
	}
	digest, err := digestOf(s.meta.Key)
	if err != nil {
		return err
	}
	err = os.Rename(s.layer(), s.o.layout.layer(digest))
	if err != nil && s.o.HasLayer(s.meta.Key) {
		return nil // another one was faster; ours goes with the staging directory
	}
	if err != nil {
		return err
	}
	return syncDir(s.o.layers())
}

// CommitAs implements Build.
func (s *step) CommitAs(ctx context.Context, key string) error {
	if _, err := digestOf(key); err != nil {
		return err
	}
	s.mu.Lock()
	s.meta.Key = key
	s.mu.Unlock()
	return s.Commit(ctx)
}

// Abort implements Build.
func (s *step) Abort() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		return nil
	}
	if err := s.drop(); err != nil {
		return fmt.Errorf("abort layer %s: %w", s.meta.Key, err)
	}
	return nil
}

// drop removes the staging directory, once nothing is mounted below it: neither our root nor what a killed program
// (debootstrap mounts /proc) left. What it cannot remove now, a Sweep will.
func (s *step) drop() error {
	s.done = true
	err := s.o.unmountBelow(s.dir)
	if err == nil {
		err = os.RemoveAll(s.dir)
	}
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	delete(s.o.active, s.dir)
	return err
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// diskUsage counts the blocks below dir, hard links once.
func diskUsage(dir string) (int64, error) {
	var total int64
	seen := map[uint64]bool{}
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		if st.Nlink > 1 && !d.IsDir() {
			if seen[st.Ino] {
				return nil
			}
			seen[st.Ino] = true
		}
		total += st.Blocks * 512
		return nil
	})
	return total, err
}
