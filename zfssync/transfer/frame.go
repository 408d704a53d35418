package transfer

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/cespare/xxhash/v2"
)

// FrameSize is how many bytes of a stream each frame holds, but the last: a cut costs at most this much.
const FrameSize = 256 << 10

// A frame is its type, the length of its payload on the wire, the length of what that means, the check of what it means, and
// the payload; numbers in big-endian order.
//
// The check is XXH64. Who could change a stream on its way is kept out by TLS, whose AES-GCM authenticates each byte; a check
// finds what breaks besides, and tells two streams apart that are to go on from each other. A SHA-256 of each frame on
// either side took half of a transfer's processor time.
const (
	frameData  = 'd' // bytes of the stream
	frameZstd  = 'z' // the same, as a zstd frame
	frameAlive = 'k' // nothing to send yet; payload: how many bytes the sender has gone through, 8 bytes
	frameEnd   = 'e' // payload: length of the stream, 8 bytes, and the SHA-256 over the checks of all its frames
	frameError = 'x' // payload: a RemoteError as JSON

	frameHeader = 1 + 4 + 4 + 8
	endSize     = 8 + sha256.Size
)

// checkOf is the check of a frame that means b.
func checkOf(b []byte) uint64 { return xxhash.Sum64(b) }

type sum = [sha256.Size]byte

// header is a frame without its payload.
type header struct {
	kind  byte
	size  int // of the payload
	raw   int // of what it means
	check uint64
}

func (h header) append(b []byte) []byte {
	b = append(b, h.kind)
	b = binary.BigEndian.AppendUint32(b, uint32(h.size))
	b = binary.BigEndian.AppendUint32(b, uint32(h.raw))
	return binary.BigEndian.AppendUint64(b, h.check)
}

// errLie: what came contradicts itself.
var errLie = errors.New("the source sent what does not fit its check sum")

func parseHeader(b []byte) (header, error) {
	h := header{kind: b[0], size: int(binary.BigEndian.Uint32(b[1:])), raw: int(binary.BigEndian.Uint32(b[5:])), check: binary.BigEndian.Uint64(b[9:])}
	ok := h.size <= FrameSize && h.raw <= FrameSize
	switch h.kind {
	case frameData:
		ok = ok && h.size == h.raw && h.raw > 0
	case frameZstd:
		ok = ok && h.raw > 0 && h.size > 0
	case frameAlive:
		ok = ok && h.size == 8 && h.raw == 0
	case frameEnd:
		ok = ok && h.size == endSize && h.raw == 0
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

// roll is the SHA-256 over the checks of the frames so far: it tells whether two streams are one, as a whole and up to any
// frame.
type roll struct {
	h      hash.Hash
	frames int64
}

func newRoll() *roll { return &roll{h: sha256.New()} }

func (r *roll) add(check uint64) {
	r.h.Write(binary.BigEndian.AppendUint64(nil, check))
	r.frames++
}

func (r *roll) sum() (s sum) { return sum(r.h.Sum(s[:0])) }
