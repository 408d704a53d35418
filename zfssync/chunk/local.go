package chunk

import (
	"crypto/sha256"
	"errors"
	"io"
)

// Local is a stream, or a file that Pack wrote, of which chunks can be taken instead of being fetched. It is not for
// concurrent use.
type Local struct {
	at     io.ReaderAt
	packed bool
	where  map[ID]place
	z      *Packer
	frame  []byte
}

type place struct {
	off  int64
	size uint32 // of the frame, or of the chunk where nothing is packed
	raw  uint32
}

// NewLocal offers the chunks of at, which x describes. What at really holds is checked chunk by chunk when it is taken,
// so a file that was cut off, or that has changed since, is no danger: its good chunks serve. Close it; at stays open.
func NewLocal(at io.ReaderAt, x *Index) (*Local, error) {
	l := &Local{at: at, packed: x.Packed, where: make(map[ID]place, len(x.Chunks))}
	off := int64(0)
	for _, e := range x.Chunks {
		p := place{off: off, size: e.Raw, raw: e.Raw}
		if x.Packed {
			p.size = e.Size
		}
		l.where[e.ID] = p
		off += int64(p.size)
	}
	if !l.packed {
		return l, nil
	}
	var err error
	l.z, err = NewPacker()
	return l, err
}

// Close frees memory.
func (l *Local) Close() {
	if l.z != nil {
		l.z.Close()
	}
}

// Has reports whether a chunk is promised here.
func (l *Local) Has(id ID) bool {
	_, ok := l.where[id]
	return ok
}

// Chunk appends the bytes of a chunk to dst. ok is false when it is not here, or not what it should be.
func (l *Local) Chunk(dst []byte, id ID) (out []byte, ok bool, err error) {
	p, ok := l.where[id]
	if !ok {
		return dst, false, nil
	}
	b, err := l.read(p)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		delete(l.where, id)
		return dst, false, nil
	}
	if err != nil {
		return dst, false, err
	}
	n := len(dst)
	if l.packed {
		if out, err = l.z.Open(dst, b, int(p.raw)); err != nil {
			delete(l.where, id)
			return dst, false, nil //nolint:nilerr // a broken cache is no error: the chunk is fetched instead
		}
	} else {
		out = append(dst, b...)
	}
	if sha256.Sum256(out[n:]) != id {
		delete(l.where, id)
		return dst, false, nil
	}
	return out, true, nil
}

func (l *Local) read(p place) ([]byte, error) {
	if cap(l.frame) < int(p.size) {
		l.frame = make([]byte, p.size)
	}
	l.frame = l.frame[:p.size]
	n, err := l.at.ReadAt(l.frame, p.off)
	if n == len(l.frame) {
		err = nil // ReaderAt may say EOF with the last bytes
	}
	return l.frame, err
}
