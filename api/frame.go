package api

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"
)

// execProtocol is the name in the Upgrade header (RFC 9110, section 7.8).
const execProtocol = "rexcarcer-exec/1"

// frameKind says what a frame of an exec session carries.
type frameKind byte

// Client to server: stdin, end of stdin, resize. Server to client: the rest.
const (
	frameStdin    frameKind = iota // bytes
	frameStdinEnd                  // empty
	frameResize                    // rows, columns: two big-endian uint16
	frameStdout                    // bytes
	frameStderr                    // bytes
	frameExit                      // code: big-endian int32; the last frame
	frameError                     // Error as JSON; the last frame
	frameAlive                     // empty, to be ignored
)

// maxFrame bounds a frame's payload in bytes.
const maxFrame = 64 << 10

// A frame is its kind in one byte, the payload's length in four bytes, big
// endian, and the payload.
const frameHeader = 5

// frameWriter writes frames whole, from any goroutine.
type frameWriter struct {
	mu     sync.Mutex // guards w
	w      io.Writer
	before func() // sets the deadline of a write, may be nil
}

func (f *frameWriter) write(kind frameKind, b []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for first := true; first || len(b) > 0; first = false {
		n := min(len(b), maxFrame)
		buf := make([]byte, frameHeader+n)
		buf[0] = byte(kind)
		binary.BigEndian.PutUint32(buf[1:], uint32(n))
		copy(buf[frameHeader:], b[:n])
		if f.before != nil {
			f.before()
		}
		if _, err := f.w.Write(buf); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// of is the writer of one kind.
func (f *frameWriter) of(kind frameKind) io.Writer { return kindWriter{f, kind} }

type kindWriter struct {
	f    *frameWriter
	kind frameKind
}

func (k kindWriter) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if err := k.f.write(k.kind, b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// readFrame reads one frame. The payload is valid until the next call with
// the same buffer, which must hold maxFrame bytes.
func readFrame(r io.Reader, buf []byte) (frameKind, []byte, error) {
	var head [frameHeader]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > maxFrame {
		return 0, nil, fmt.Errorf("exec session: a frame of %d bytes, at most %d are allowed", n, maxFrame)
	}
	if _, err := io.ReadFull(r, buf[:n]); err != nil {
		return 0, nil, fmt.Errorf("exec session: frame cut off: %w", err)
	}
	return frameKind(head[0]), buf[:n], nil
}

func encodeSize(s Size) []byte {
	b := binary.BigEndian.AppendUint16(nil, s.Rows)
	return binary.BigEndian.AppendUint16(b, s.Cols)
}

func decodeSize(b []byte) (Size, bool) {
	if len(b) != 4 {
		return Size{}, false
	}
	return Size{Rows: binary.BigEndian.Uint16(b), Cols: binary.BigEndian.Uint16(b[2:])}, true
}
