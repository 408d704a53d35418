package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/spec"
)

// pinBases asks the cluster what the bases of images mean, and makes that
// part of their keys: a base from elsewhere by its digest, an image of the
// cluster by its key. Nothing is recorded before record.
func pinBases(ctx context.Context, client *api.Client, w *spec.Wish, record bool) error {
	own := map[string]bool{}
	for _, m := range w.Images {
		own[m.Name] = true
	}
	var pins map[string]string
	changed := false
	for i := range w.Images {
		m := &w.Images[i]
		if own[m.Base] || madeHere(m.Base) {
			continue
		}
		if pins == nil {
			var err error
			if pins, err = pinned(ctx, client); err != nil {
				return err
			}
		}
		digest, known := pins[m.Base]
		if !known {
			res, err := client.PinBase(ctx, api.PinRequest{Ref: m.Base, DryRun: !record})
			if err != nil {
				return fmt.Errorf("image %s: %w", m.Name, err)
			}
			digest = res.Digest
			pins[m.Base] = digest
		}
		if m.BaseDigest == digest {
			continue
		}
		if record {
			return fmt.Errorf("image %s: its base %s has changed since the plan was made\n  try: rexctl plan again", m.Name, safe(m.Base))
		}
		m.BaseDigest, changed = digest, true
	}
	if !changed {
		return nil
	}
	return w.Seal()
}

// madeHere: bases that mean what they say.
func madeHere(base string) bool {
	return base == "host:/" || strings.HasPrefix(base, "debian:")
}

// pinned is what is known already: no host has to be asked for it.
func pinned(ctx context.Context, client *api.Client) (map[string]string, error) {
	bases, err := client.Bases(ctx)
	if err != nil {
		return nil, err
	}
	images, err := client.Images(ctx)
	if err != nil {
		return nil, err
	}
	pins := map[string]string{}
	for _, m := range images {
		pins[m.Name] = m.Key
	}
	for _, b := range bases {
		pins[b.Ref] = b.Digest
	}
	return pins, nil
}

// pinImage is pinBases for an image that is built by itself.
func pinImage(ctx context.Context, client *api.Client, m *spec.Image) error {
	// It may have the name of its base: then it is that of before.
	w := &spec.Wish{Images: []spec.Image{*m}}
	name := w.Images[0].Name
	w.Images[0].Name = "itself"
	err := pinBases(ctx, client, w, false)
	if err == nil {
		err = pinBases(ctx, client, w, true)
	}
	if err != nil {
		return errors.New(strings.Replace(err.Error(), "image itself:", "image "+name+":", 1))
	}
	*m = w.Images[0]
	m.Name = name
	return nil
}
