package zfssync

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// HasImage implements Store.
func (o *Overlay) HasImage(key string) bool {
	img, err := o.readImage(key)
	return err == nil && o.HasLayer(img.Top)
}

// Image implements Store.
func (o *Overlay) Image(key string) (Image, error) {
	img, err := o.readImage(key)
	if err != nil {
		return img, err
	}
	if !o.HasLayer(img.Top) {
		return Image{}, fmt.Errorf("image %s: its layer %s is gone, build it again: %w", key, img.Top, ErrNotFound)
	}
	return img, nil
}

// PutImage implements Store.
func (o *Overlay) PutImage(ctx context.Context, img Image) error {
	digest, err := digestOf(img.Key)
	if err != nil {
		return err
	}
	unlock, err := o.keys.lock(ctx, img.Key)
	if err != nil {
		return err
	}
	defer unlock()
	top, err := o.readLayer(img.Top)
	if err != nil {
		return fmt.Errorf("name image %s: %w", img.Key, err)
	}
	img.Bytes, img.Layers = top.Bytes, 1+len(top.Chain)
	for _, k := range top.Chain {
		l, err := o.readLayer(k)
		if err != nil {
			return fmt.Errorf("name image %s: %w", img.Key, err)
		}
		img.Bytes += l.Bytes
	}
	img.CreatedAt = time.Now().UTC()
	return writeJSON(o.layout.image(digest), img, true)
}

// RemoveImage implements Store. Base layers stay: they are dear to make and other images begin with them.
func (o *Overlay) RemoveImage(ctx context.Context, key string) error {
	digest, err := digestOf(key)
	if err != nil {
		return err
	}
	unlock, err := o.keys.lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	img, err := o.readImage(key)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	l, err := o.List(ctx)
	if err != nil {
		return err
	}
	for _, c := range l.Clones {
		if c.ImageKey == key {
			return fmt.Errorf("remove image %s: jail %s is a clone of it: %w", key, c.UUID, ErrInUse)
		}
	}
	if err := os.Remove(o.layout.image(digest)); err != nil {
		return fmt.Errorf("remove image %s: %w", key, err)
	}
	top, err := o.readLayer(img.Top)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	l.Images = slices.DeleteFunc(l.Images, func(i Image) bool { return i.Key == key })
	_, err = o.dropLayers(append([]string{img.Top}, top.Chain...), o.needed(l), true)
	return err
}

// needed returns the layers below every image and clone of l.
func (o *Overlay) needed(l Listing) map[string]bool {
	need := map[string]bool{}
	add := func(top string) {
		m, err := o.readLayer(top)
		if err != nil {
			return // an image whose layer is gone needs nothing
		}
		need[top] = true
		for _, k := range m.Chain {
			need[k] = true
		}
	}
	for _, i := range l.Images {
		add(i.Top)
	}
	for _, c := range l.Clones {
		if img, err := o.readImage(c.ImageKey); err == nil {
			add(img.Top)
		}
		var rec cloneRecord // received before its image, or older than the image
		if readJSON(filepath.Join(o.jail(c.UUID), "clone.json"), &rec) == nil {
			add(rec.Top)
		}
	}
	return need
}

// dropLayers removes the layers that are not needed, unless a build holds them.
func (o *Overlay) dropLayers(keys []string, need map[string]bool, keepBases bool) (removed []string, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.holds > 0 {
		return nil, nil
	}
	for _, k := range keys {
		if need[k] {
			continue
		}
		m, err := o.readLayer(k)
		if errors.Is(err, ErrNotFound) || keepBases && len(m.Chain) == 0 && m.Base != "" {
			continue
		}
		digest := strings.TrimPrefix(k, keyPrefix)
		if err := o.discard(o.layout.layer(digest)); err != nil {
			return removed, fmt.Errorf("remove layer %s: %w", k, err)
		}
		removed = append(removed, "layer "+k)
	}
	return removed, nil
}

// discard renames path into the trash, so that it is gone at once whatever comes, and deletes it there.
func (o *Overlay) discard(path string) error {
	// A directory costs ext4 a fifth of a millisecond, so there is none for each: the time makes the name unique.
	bin := fmt.Sprintf("%s/%s.%x.%d", o.trash(), filepath.Base(path), time.Now().UnixNano(), o.discards.Add(1))
	err := os.Rename(path, bin)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.RemoveAll(bin)
}
