package zfssync

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// plainClone is jails/<uuid>/clone.json.
type plainClone struct {
	ImageKey string       `json:"image_key"`
	Options  CloneOptions `json:"options"`
}

// Clone implements Store: a copy of the image's top layer.
func (p *Plain) Clone(ctx context.Context, imageKey, uuid string, o CloneOptions) (string, error) {
	if err := errors.Join(checkUUID(uuid), o.IDMap.check()); err != nil {
		return "", err
	}
	if !o.IDMap.IsZero() {
		return "", fmt.Errorf("clone image %s: id ranges: %s", imageKey, plainReason)
	}
	unlock, err := p.keys.lock(ctx, uuid)
	if err != nil {
		return "", err
	}
	defer unlock()
	var was plainClone
	err = readJSON(filepath.Join(p.jail(uuid), "clone.json"), &was)
	switch {
	case err == nil && was.ImageKey == imageKey && was.Options == o:
		return p.root(uuid), nil
	case err == nil:
		return "", fmt.Errorf("jail %s is made of image %s already: destroy it first: %w", uuid, was.ImageKey, ErrInUse)
	case !errors.Is(err, ErrNotFound):
		return "", fmt.Errorf("clone image %s: %w", imageKey, err)
	}
	img, err := p.Image(imageKey)
	if err != nil {
		return "", err
	}
	release := p.Hold()
	defer release()
	if err := p.copyClone(ctx, img, uuid, plainClone{imageKey, o}); err != nil {
		return "", fmt.Errorf("clone image %s: %w", imageKey, err)
	}
	return p.root(uuid), nil
}

func (p *Plain) copyClone(ctx context.Context, img Image, uuid string, c plainClone) error {
	digest, err := digestOf(img.Top)
	if err != nil {
		return err
	}
	stage, err := os.MkdirTemp(p.staging(), uuid[:8]+"-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(stage)
	if err := errors.Join(os.Chmod(stage, 0o711), os.Mkdir(filepath.Join(stage, "root"), 0o755)); err != nil { //nolint:gosec // users of the jail pass
		return err
	}
	if err := copyExact(ctx, filepath.Join(p.layer(digest), "fs"), filepath.Join(stage, "root"), false); err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(stage, "clone.json"), c, true); err != nil {
		return err
	}
	if err := p.discard(p.jail(uuid)); err != nil { // without a record: half made by an older version, or binds alone
		return err
	}
	return os.Rename(stage, p.jail(uuid))
}

// Bind implements Store. Nothing is mounted: the jail's own mounts bring the directory in. That it is used is noted.
func (p *Plain) Bind(_ context.Context, uuid, name, source string, o BindOptions) (string, error) {
	if err := errors.Join(checkUUID(uuid), checkName("volume", name)); err != nil {
		return "", err
	}
	if !o.IDMap.IsZero() {
		return "", fmt.Errorf("bind %s: id ranges: %s", source, plainReason)
	}
	if _, err := os.Stat(source); err != nil {
		return "", fmt.Errorf("bind volume %s: %w", name, err)
	}
	dir := filepath.Join(p.jail(uuid), "binds")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("bind volume %s: %w", name, err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(source), 0o600); err != nil {
		return "", fmt.Errorf("bind volume %s: %w", name, err)
	}
	return source, nil
}

// Unmount implements Store. What a volatile clone has written goes.
func (p *Plain) Unmount(ctx context.Context, uuid string) error {
	if err := checkUUID(uuid); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(p.jail(uuid), "binds")); err != nil {
		return fmt.Errorf("unmount jail %s: %w", uuid, err)
	}
	var c plainClone
	if err := readJSON(filepath.Join(p.jail(uuid), "clone.json"), &c); err == nil && c.Options.Volatile {
		return p.Destroy(ctx, uuid)
	}
	return nil
}

// Destroy implements Store.
func (p *Plain) Destroy(ctx context.Context, uuid string) error {
	if err := checkUUID(uuid); err != nil {
		return err
	}
	unlock, err := p.keys.lock(ctx, uuid)
	if err != nil {
		return err
	}
	defer unlock()
	if err := p.discard(p.jail(uuid)); err != nil {
		return fmt.Errorf("destroy jail %s: %w", uuid, err)
	}
	return nil
}

// plainVolume is volumes/<id>/volume.json.
type plainVolume struct {
	QuotaBytes int64 `json:"quota_bytes,omitempty"` // wished for; not enforced here
}

// Volume implements Store.
func (p *Plain) Volume(_ context.Context, id VolumeID, quotaBytes int64) (string, error) {
	if err := checkName("volume", string(id)); err != nil {
		return "", err
	}
	data := filepath.Join(p.volume(id), "data")
	if err := os.MkdirAll(data, 0o755); err != nil {
		return "", fmt.Errorf("volume %s: %w", id, err)
	}
	var was plainVolume
	record := filepath.Join(p.volume(id), "volume.json")
	if err := readJSON(record, &was); err == nil && was.QuotaBytes == quotaBytes {
		return data, nil
	}
	if err := writeJSON(record, plainVolume{quotaBytes}, true); err != nil {
		return "", fmt.Errorf("volume %s: %w", id, err)
	}
	return data, nil
}

// DestroyVolume implements Store.
func (p *Plain) DestroyVolume(_ context.Context, id VolumeID) error {
	if err := checkName("volume", string(id)); err != nil {
		return err
	}
	if p.bound(id) {
		return fmt.Errorf("destroy volume %s: a jail has it: %w", id, ErrInUse)
	}
	if err := p.discard(p.volume(id)); err != nil {
		return fmt.Errorf("destroy volume %s: %w", id, err)
	}
	return nil
}

// bound says whether a jail has the volume.
func (p *Plain) bound(id VolumeID) bool {
	data := filepath.Join(p.volume(id), "data")
	binds, _ := filepath.Glob(filepath.Join(p.jails(), "*", "binds", "*"))
	return slices.ContainsFunc(binds, func(b string) bool {
		raw, err := os.ReadFile(b)
		return err == nil && string(raw) == data
	})
}

// VolumeInfo implements Store.
func (p *Plain) VolumeInfo(ctx context.Context, id VolumeID) (VolumeInfo, error) {
	info := VolumeInfo{ID: id, Bytes: -1}
	if err := checkName("volume", string(id)); err != nil {
		return info, err
	}
	var rec plainVolume
	if err := readJSON(filepath.Join(p.volume(id), "volume.json"), &rec); err != nil {
		return info, fmt.Errorf("volume %s: %w", id, err)
	}
	info.QuotaBytes, info.InUse = rec.QuotaBytes, p.bound(id)
	used, err := treeBytes(ctx, filepath.Join(p.volume(id), "data"))
	if err == nil {
		info.Bytes = used
	} else if ctx.Err() == nil {
		return info, fmt.Errorf("volume %s: %w", id, err)
	}
	return info, nil
}

// List implements Store.
func (p *Plain) List(context.Context) (Listing, error) {
	var l Listing
	if err := listImages(p.layout, &l); err != nil {
		return l, fmt.Errorf("list store: %w", err)
	}
	for _, part := range []struct {
		dir  string
		take func(name string)
	}{
		{p.layers(), func(n string) {
			if hexRE.MatchString(n) && p.HasLayer(keyPrefix+n) {
				l.Layers = append(l.Layers, keyPrefix+n)
			}
		}},
		{p.jails(), func(n string) {
			if checkUUID(n) == nil {
				var c plainClone
				_ = readJSON(filepath.Join(p.jail(n), "clone.json"), &c) // ImageKey "" says so
				l.Clones = append(l.Clones, Clone{UUID: n, ImageKey: c.ImageKey, Options: c.Options, Mounted: c.ImageKey != "", Root: p.root(n)})
			}
		}},
		{p.volumes(), func(n string) { l.Volumes = append(l.Volumes, VolumeID(n)) }},
		{p.trash(), func(n string) { l.Leftovers = append(l.Leftovers, filepath.Join(p.trash(), n)) }},
	} {
		entries, err := os.ReadDir(part.dir)
		if err != nil {
			return l, fmt.Errorf("list store: %w", err)
		}
		for _, e := range entries {
			part.take(e.Name())
		}
	}
	return l, nil
}

// Sweep implements Store. It is called before builds begin, so what is staged is nobody's.
func (p *Plain) Sweep(ctx context.Context, keep Keep) (removed []string, err error) {
	l, err := p.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, dir := range []string{p.trash(), p.staging()} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return removed, fmt.Errorf("sweep store: %w", err)
		}
		for _, e := range entries {
			if dir == p.staging() && p.held() {
				break
			}
			left := filepath.Join(dir, e.Name())
			if err := errors.Join(unmountTree(resolved(left)), Erase(left)); err != nil {
				return removed, fmt.Errorf("sweep store: %w", err)
			}
			removed = append(removed, strings.TrimPrefix(filepath.Join(dir, e.Name()), p.dir+"/"))
		}
	}
	for _, c := range l.Clones {
		if keep.AllJails || slices.Contains(keep.Jails, c.UUID) {
			continue
		}
		if err := p.Destroy(ctx, c.UUID); err != nil {
			return removed, err
		}
		removed = append(removed, "jail "+c.UUID)
	}
	if keep.Images == nil {
		return removed, nil
	}
	layers, err := p.dropLayers(ctx, keep.Images, keep.BaseOfAll)
	return append(removed, layers...), err
}

// held says whether a build is at work.
func (p *Plain) held() bool {
	if p.holds.TryLock() {
		p.holds.Unlock()
		return false
	}
	return true
}

// Teardown implements Store: nothing is mounted.
func (p *Plain) Teardown(context.Context) error { return nil }

// Close implements Store.
func (p *Plain) Close() error { return p.lock.Close() }

var _ Store = (*Plain)(nil)
