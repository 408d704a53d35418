package transfer

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
)

// FrameSize is how many bytes of a stream each frame holds, but the last: a cut costs at most this much.
const FrameSize = 256 << 10

// A frame is its type, the length of its payload on the wire, the length of what that means, the SHA-256 of what it
// means, and the payload; numbers in big-endian order.
const (
	frameData  = 'd' // bytes of the stream
	frameZstd  = 'z' // the same, as a zstd frame
	frameAlive = 'k' // nothing to send yet; payload: how many bytes the sender has gone through, 8 bytes
	frameEnd   = 'e' // the sum is that over the sums of all frames of the stream; payload: its length, 8 bytes
	frameError = 'x' // payload: a RemoteError as JSON

	frameHeader = 1 + 4 + 4 + sha256.Size
)

type sum = [sha256.Size]byte

// header is a frame without its payload.
type header struct {
	kind byte
	size int // of the payload
	raw  int // of what it means
	sum  sum
}

func (h header) append(b []byte) []byte {
	b = append(b, h.kind)
	b = binary.BigEndian.AppendUint32(b, uint32(h.size))
	b = binary.BigEndian.AppendUint32(b, uint32(h.raw))
	return append(b, h.sum[:]...)
}

// errLie: what came contradicts itself.
var errLie = errors.New("the source sent what does not fit its check sum")

func parseHeader(b []byte) (header, error) {
	h := header{kind: b[0], size: int(binary.BigEndian.Uint32(b[1:])), raw: int(binary.BigEndian.Uint32(b[5:])), sum: sum(b[9:])}
	ok := h.size <= FrameSize && h.raw <= FrameSize
	switch h.kind {
	case frameData:
		ok = ok && h.size == h.raw && h.raw > 0
	case frameZstd:
		ok = ok && h.raw > 0 && h.size > 0
	case frameAlive, frameEnd:
		ok = ok && h.size == 8 && h.raw == 0
	case frameError:
		ok = ok && h.size <= 4<<10
	default:
		ok = false
	}
	if !ok {
		return h, fmt.Errorf("%w: a frame of kind %q with %d bytes for %d", errLie, h.kind, h.size, h.raw)
	}
	return h, nil
}

// readFrame reads a frame's header and its payload, into buf where that is large enough.
func readFrame(r io.Reader, buf []byte) (header, []byte, error) {
	var head [frameHeader]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return header{}, nil, cutOff(err)
	}
	h, err := parseHeader(head[:])
	if err != nil {
		return h, nil, err
	}
	if cap(buf) < h.size {
		buf = make([]byte, h.size)
	}
	buf = buf[:h.size]
	if _, err := io.ReadFull(r, buf); err != nil {
		return h, nil, cutOff(err)
	}
	return h, buf, nil
}

// cutOff makes every early end of a stream the same error.
func cutOff(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// roll is the SHA-256 over the sums of the frames so far: it proves a whole stream, and any beginning of it.
type roll struct {
	h      hash.Hash
	frames int64
}

func newRoll() *roll { return &roll{h: sha256.New()} }

func (r *roll) add(s sum) {
	r.h.Write(s[:])
	r.frames++
}

func (r *roll) sum() (s sum) { return sum(r.h.Sum(s[:0])) }
