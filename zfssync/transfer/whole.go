package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"

	"github.com/rexcarcer/rexcarcer/zfssync"
)

// A host whose streams are zfs gives one that reads tar an image as a single layer: all that a jail would see, packed from a
// clone of the top layer. It shares nothing with other images there, but it is there, and jails of the image run.

// builder is a store that can show a layer as a directory; the key is of no layer, and only names what is made.
type builder interface {
	BeginStep(ctx context.Context, parent, key string, ids zfssync.IDMap) (zfssync.Build, error)
}

// wholeKey is the key of the single layer that stands for top and all below it. The same top gives the same.
func wholeKey(top string) string {
	sum := sha256.Sum256([]byte("rexcarcer whole image " + top))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// whole describes an image as one layer of tar, where the peer cannot read what its layers are.
func (s *Server) whole(m Manifest, reads zfssync.Format) Manifest {
	_, ok := s.store.(builder)
	if !ok || reads != zfssync.FormatTar || m.Layers[0].Format == zfssync.FormatTar {
		return m
	}
	o := zfssync.Object{Kind: zfssync.KindLayer, Name: wholeKey(m.Image.Top)}
	m.Image.Top = o.Name
	m.Layers = []zfssync.Snapshot{{
		Object: o, Name: zfssync.LayerSnapshot, GUID: o.Name, CreatedAt: m.Image.CreatedAt, Bytes: m.Image.Bytes, Format: zfssync.FormatTar, Base: m.Image.Base,
	}}
	return m
}

// wholeOf finds the image that a layer made by whole stands for.
func (s *Server) wholeOf(ctx context.Context, o zfssync.Object, guid string) (n named, ok bool, err error) {
	if _, can := s.store.(builder); !can || o.Kind != zfssync.KindLayer || guid != o.Name {
		return named{}, false, nil
	}
	l, err := s.store.List(ctx)
	if err != nil {
		return named{}, false, err
	}
	for _, img := range l.Images {
		if wholeKey(img.Top) == o.Name {
			snap := zfssync.Snapshot{Object: o, Name: zfssync.LayerSnapshot, GUID: guid, Bytes: img.Bytes, Format: zfssync.FormatTar}
			return named{object: o, snap: snap, top: img.Top}, true, nil
		}
	}
	return named{}, false, nil
}

// write writes the stream of n.
func (s *Server) write(ctx context.Context, n named, w io.Writer) (err error) {
	if n.top == "" {
		return s.store.Send(ctx, n.object, n.opt, w)
	}
	b, err := s.store.(builder).BeginStep(ctx, n.top, n.object.Name, zfssync.IDMap{})
	if err != nil {
		return err
	}
	defer func() {
		if aerr := b.Abort(); aerr != nil && err == nil { // what was sent is right; a sweep removes the rest
			s.log.Warn("the clone that an image was packed from is left", "image", n.top, "err", aerr)
		} else {
			err = errors.Join(err, aerr)
		}
	}()
	return zfssync.PackTree(ctx, b.Root(), w)
}
