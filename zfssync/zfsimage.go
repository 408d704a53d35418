package zfssync

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// HasImage implements Store.
func (s *ZFS) HasImage(key string) bool {
	img, err := s.readImage(key)
	return err == nil && s.HasLayer(img.Top)
}

// Image implements Store.
func (s *ZFS) Image(key string) (Image, error) {
	img, err := s.readImage(key)
	if err != nil {
		return img, err
	}
	if !s.HasLayer(img.Top) {
		return Image{}, fmt.Errorf("image %s: its layer %s is gone, build it again: %w", key, img.Top, ErrNotFound)
	}
	return img, nil
}

// PutImage implements Store.
func (s *ZFS) PutImage(ctx context.Context, img Image) error {
	digest, err := digestOf(img.Key)
	if err != nil {
		return err
	}
	unlock, err := s.keys.lock(ctx, img.Key)
	if err != nil {
		return err
	}
	defer unlock()
	below, err := s.chain(img.Top)
	if err != nil {
		return fmt.Errorf("name image %s: %w", img.Key, err)
	}
	_, top := s.layerSet(img.Top)
	img.Bytes, img.Layers, img.CreatedAt = top.number("referenced"), 1+len(below), time.Now().UTC()
	return noSpace(writeJSON(s.layout.image(digest), img, true))
}

// RemoveImage implements Store. Base layers stay: they are dear to make and other images begin with them.
func (s *ZFS) RemoveImage(ctx context.Context, key string) error {
	digest, err := digestOf(key)
	if err != nil {
		return err
	}
	unlock, err := s.keys.lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	img, err := s.readImage(key)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	l, err := s.List(ctx)
	if err != nil {
		return err
	}
	for _, c := range l.Clones {
		if c.ImageKey == key {
			return fmt.Errorf("remove image %s: jail %s is a clone of it: %w", key, c.UUID, ErrInUse)
		}
	}
	if err := os.Remove(s.layout.image(digest)); err != nil {
		return fmt.Errorf("remove image %s: %w", key, err)
	}
	below, err := s.chain(img.Top)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	l.Images = slices.DeleteFunc(l.Images, func(i Image) bool { return i.Key == key })
	_, err = s.dropLayers(ctx, append([]string{img.Top}, below...), s.needed(l.Images, l.Clones), true)
	return err
}

// needed returns the layers below every image and clone.
func (s *ZFS) needed(images []Image, clones []Clone) map[string]bool {
	need := map[string]bool{}
	add := func(top string) {
		below, err := s.chain(top)
		if err != nil {
			return // an image whose layer is gone needs nothing
		}
		need[top] = true
		for _, k := range below {
			need[k] = true
		}
	}
	for _, i := range images {
		add(i.Top)
	}
	for _, c := range clones {
		add(s.own(s.ds("jail", c.UUID)).local(propLayer))
	}
	return need
}
