package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/rexcarcer/rexcarcer/zfssync/bundle"
)

// maxOCILayers of one image.
const maxOCILayers = 127

// ociPlace is an image in a registry, or in a layout directory (OCI Image Layout). Nobody signs it: its digest is what is
// pinned, and it covers the layers.
type ociPlace struct {
	s   *Sources
	ref string // what follows oci:
	img v1.Image
}

func (p *ociPlace) look(ctx context.Context) (Origin, error) {
	platform, err := v1.ParsePlatform(p.s.c.Platform)
	if err != nil {
		return Origin{}, err
	}
	if p.ref == "" || strings.HasPrefix(p.ref, ".") {
		return Origin{}, fmt.Errorf("base oci:%s: want a registry's reference, as oci:debian:bookworm, or the absolute path of a layout directory", p.ref)
	}
	if filepath.IsAbs(p.ref) {
		p.img, err = p.fromLayout(*platform)
	} else {
		p.img, err = p.fromRegistry(ctx, *platform)
	}
	if err != nil {
		return Origin{}, fmt.Errorf("base oci:%s: %w", p.ref, err)
	}
	raw, err := p.img.RawManifest()
	if err != nil {
		return Origin{}, fmt.Errorf("base oci:%s: %w", p.ref, err)
	}
	digest := sha256.Sum256(raw) // what a library says of it does not count
	m, err := p.img.Manifest()
	if err != nil {
		return Origin{}, fmt.Errorf("base oci:%s: %w", p.ref, err)
	}
	o := Origin{Kind: "oci", Digest: "sha256:" + hex.EncodeToString(digest[:]), Platform: p.s.c.Platform}
	if pin := pinRE.FindStringSubmatch(p.ref); pin != nil && pin[2] != o.Digest && !p.inIndex(pin[2]) {
		return Origin{}, &bundle.Refusal{Reason: bundle.OtherContent, Text: fmt.Sprintf("its digest is %s, not the one that the reference pins", o.Digest)}
	}
	for _, l := range m.Layers {
		o.Bytes += l.Size
	}
	if len(m.Layers) == 0 || len(m.Layers) > maxOCILayers || o.Bytes > MaxPayload || o.Bytes < 0 {
		return Origin{}, &bundle.Refusal{Reason: bundle.Bomb, Text: fmt.Sprintf("it has %d layers with %d bytes; want 1 to %d with at most %d", len(m.Layers), o.Bytes, maxOCILayers, int64(MaxPayload))}
	}
	if o.Defaults, err = p.defaults(m.Config); err != nil {
		return Origin{}, fmt.Errorf("base oci:%s: %w", p.ref, err)
	}
	return o, nil
}

// inIndex reports whether the pin was of an index, from which the registry's answer was chosen by platform: the library
// has compared the digest of what it asked for by digest.
func (p *ociPlace) inIndex(string) bool { return !filepath.IsAbs(p.ref) }

func (p *ociPlace) fromRegistry(ctx context.Context, platform v1.Platform) (v1.Image, error) {
	ref, err := name.ParseReference(p.ref)
	if err != nil {
		return nil, err
	}
	return remote.Image(ref, remote.WithContext(ctx), remote.WithPlatform(platform),
		remote.WithAuthFromKeychain(authn.DefaultKeychain), remote.WithTransport(p.s.http.Transport), remote.WithUserAgent("rexcarcer"))
}

func (p *ociPlace) fromLayout(platform v1.Platform) (v1.Image, error) {
	dir, pin := p.ref, ""
	if m := pinRE.FindStringSubmatch(p.ref); m != nil {
		dir, pin = m[1], m[2]
	}
	at, err := layout.FromPath(dir)
	if err != nil {
		return nil, fmt.Errorf("no OCI layout directory: %w", err)
	}
	index, err := at.ImageIndex()
	if err != nil {
		return nil, err
	}
	return fromIndex(index, platform, pin, 0)
}

// fromIndex finds the one image of the platform, at most three indexes deep.
func fromIndex(index v1.ImageIndex, platform v1.Platform, pin string, depth int) (v1.Image, error) {
	m, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	var found []v1.Descriptor
	for _, d := range m.Manifests {
		switch {
		case d.MediaType.IsIndex() && depth < 3:
			inner, err := index.ImageIndex(d.Digest)
			if err != nil {
				return nil, err
			}
			img, err := fromIndex(inner, platform, pin, depth+1)
			if err == nil || !errors.Is(err, errNoImage) {
				return img, err
			}
		case !d.MediaType.IsImage(), pin != "" && d.Digest.String() != pin:
		case d.Platform == nil || d.Platform.Satisfies(v1.Platform{OS: platform.OS, Architecture: platform.Architecture}):
			found = append(found, d)
		}
	}
	switch len(found) {
	case 0:
		return nil, errNoImage
	case 1:
		return index.Image(found[0].Digest)
	}
	var all []string
	for _, d := range found {
		all = append(all, d.Digest.String())
	}
	return nil, fmt.Errorf("the directory holds %d images for this platform: add @DIGEST, one of %s", len(found), strings.Join(all, ", "))
}

var errNoImage = errors.New("no image for this host's platform in it")

func (p *ociPlace) fetch(ctx context.Context, o Origin, progress Progress) (_ Fetched, err error) {
	dir := p.s.partial(o.Digest) + ".layers"
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Fetched{}, err
	}
	layers, err := p.img.Layers()
	if err != nil {
		return Fetched{}, fmt.Errorf("base %s: %w", o.Ref, err)
	}
	m, err := p.img.Manifest()
	if err != nil {
		return Fetched{}, fmt.Errorf("base %s: %w", o.Ref, err)
	}
	var paths []string
	done := int64(0)
	for i, l := range layers {
		want := m.Layers[i]
		progress(fmt.Sprintf("layer %d of %d", i+1, len(layers)), done, o.Bytes)
		at := filepath.Join(dir, want.Digest.Hex)
		err := p.s.retry(ctx, progress, func() (int64, error) { return 0, p.layer(ctx, l, want, at) })
		if err != nil {
			return Fetched{}, fmt.Errorf("base %s: layer %s: %w", o.Ref, want.Digest, err)
		}
		done += want.Size
		paths = append(paths, at)
	}
	progress("putting the layers together", done, o.Bytes)
	part := p.s.partial(o.Digest)
	if err := flatten(ctx, paths, part, p.s.c.Limits); err != nil {
		return Fetched{}, fmt.Errorf("base %s: %w", o.Ref, err)
	}
	f, err := p.s.accept(ctx, o.Ref, part, o.Digest, "oci.tar.zst", progress)
	return f, errors.Join(err, os.RemoveAll(dir))
}

// layer brings one layer, packed as it is, and checks its digest. One that is there already was checked.
func (p *ociPlace) layer(ctx context.Context, l v1.Layer, want v1.Descriptor, to string) (err error) {
	if want.Digest.Algorithm != "sha256" {
		return &bundle.Refusal{Reason: bundle.Malformed, Text: fmt.Sprintf("layer %s: want a sha256 digest", want.Digest)}
	}
	if got, err := digestFile(ctx, to); err == nil && got == want.Digest.String() {
		return nil
	}
	r, err := l.Compressed()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	f, err := os.OpenFile(to+".part", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, h), withContext(ctx, io.LimitReader(r, want.Size+1)))
	if err != nil {
		return err
	}
	if err := sizeFits("layer "+want.Digest.String(), n, want.Size); err != nil {
		return err
	}
	if got := "sha256:" + hex.EncodeToString(h.Sum(nil)); got != want.Digest.String() {
		return &bundle.Refusal{Reason: bundle.WrongHash, Text: fmt.Sprintf("layer %s has the digest %s", want.Digest, got)}
	}
	return os.Rename(to+".part", to)
}
