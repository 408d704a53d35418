package chunk

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// Packer compresses single chunks. The same chunk gives the same frame, so that what one host has packed can be made
// again by another from the bytes.
type Packer struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
}

// NewPacker returns a Packer; Close it. It is not for concurrent use.
func NewPacker() (*Packer, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true), zstd.WithSingleSegment(true))
	if err != nil {
		return nil, err
	}
	// A frame says how large it becomes; no more than the largest chunk is ever made.
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(4*largestAvg))
	if err != nil {
		return nil, err
	}
	return &Packer{enc: enc, dec: dec}, nil
}

// Close frees memory.
func (p *Packer) Close() {
	_ = p.enc.Close() // it has no stream to end
	p.dec.Close()
}

// Frame appends the zstd frame of chunk to dst.
func (p *Packer) Frame(dst, chunk []byte) []byte { return p.enc.EncodeAll(chunk, dst) }

// Open appends what is in frame to dst; it must be raw bytes.
func (p *Packer) Open(dst, frame []byte, raw int) ([]byte, error) {
	var h zstd.Header
	if err := h.Decode(frame); err != nil {
		return dst, fmt.Errorf("zstd frame: %w", err)
	}
	if h.HasFCS && h.FrameContentSize != uint64(raw) { // refused before memory is taken for it
		return dst, fmt.Errorf("zstd frame of %d bytes where %d were promised", h.FrameContentSize, raw)
	}
	n := len(dst)
	dst, err := p.dec.DecodeAll(frame, dst)
	if err != nil {
		return dst, fmt.Errorf("zstd frame: %w", err)
	}
	if len(dst)-n != raw {
		return dst, fmt.Errorf("zstd frame of %d bytes where %d were promised", len(dst)-n, raw)
	}
	return dst, nil
}

// Pack writes the stream r to w as one zstd frame a chunk, and returns the index that belongs beside it.
func Pack(ctx context.Context, r io.Reader, w io.Writer, p Params) (*Index, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	z, err := NewPacker()
	if err != nil {
		return nil, err
	}
	defer z.Close()
	x := &Index{Params: p, Packed: true}
	s := Split(r, p)
	var frame []byte
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		b, err := s.Next()
		if errors.Is(err, io.EOF) {
			return x, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read what is to be packed: %w", err)
		}
		if len(x.Chunks) == maxEntries {
			return nil, fmt.Errorf("more than %d chunks: take larger ones", maxEntries)
		}
		frame = z.Frame(frame[:0], b)
		if _, err := w.Write(frame); err != nil {
			return nil, fmt.Errorf("write packed chunk: %w", err)
		}
		x.Chunks = append(x.Chunks, Entry{ID: sha256.Sum256(b), Raw: uint32(len(b)), Frame: markOf(frame), Size: uint32(len(frame))})
	}
}
