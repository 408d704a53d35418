package fsm

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash"
	"io"

	"github.com/klauspost/compress/zstd"
)

// A snapshot is a line of text, then a zstd stream of frames:
//
//	magic | zstd( frame... end )
//	frame = section number (1 byte) | uvarint length | key | uvarint length | JSON
//	end   = 0 | SHA-256 of all before it inside the stream
//
// The header frame comes first.
const magic = "rexcarcer state 1\n"

// The longest key and value that Read believes, in bytes.
const (
	maxKey   = 64 << 10
	maxValue = 64 << 20
)

// Write writes a snapshot of s. It may run while others apply: s never changes.
func Write(w io.Writer, s *State) error {
	if _, err := io.WriteString(w, magic); err != nil {
		return fmt.Errorf("write snapshot %d: %w", s.Index, err)
	}
	z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return fmt.Errorf("write snapshot %d: %w", s.Index, err)
	}
	out := &frameWriter{w: bufio.NewWriterSize(z, 1<<16), sum: sha256.New()}
	out.json = json.NewEncoder(&out.text)
	out.frame(secHeader, "", s.header())
	for _, sec := range s.stored() {
		for k, v := range sec.each {
			out.frame(sec.number, k, v)
		}
	}
	out.end()
	if out.err != nil {
		_ = z.Close() // the first error says more
		return fmt.Errorf("write snapshot %d: %w", s.Index, out.err)
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("write snapshot %d: %w", s.Index, err)
	}
	return nil
}

// frameWriter keeps the first error, so that its callers need not ask.
type frameWriter struct {
	w   *bufio.Writer
	sum hash.Hash
	buf []byte
	err error

	text bytes.Buffer
	json *json.Encoder // into text
}

func (f *frameWriter) frame(number byte, key string, v any) {
	if f.err != nil {
		return
	}
	f.text.Reset()
	if err := f.json.Encode(v); err != nil {
		f.err = fmt.Errorf("section %d, key %q: %w", number, key, err)
		return
	}
	text := f.text.Bytes()
	f.buf = append(f.buf[:0], number)
	f.buf = binary.AppendUvarint(f.buf, uint64(len(key)))
	f.buf = append(f.buf, key...)
	f.buf = binary.AppendUvarint(f.buf, uint64(len(text)))
	f.buf = append(f.buf, text...)
	f.sum.Write(f.buf)
	_, f.err = f.w.Write(f.buf)
}

func (f *frameWriter) end() {
	if f.err == nil {
		_, f.err = f.w.Write(f.sum.Sum([]byte{secEnd}))
	}
	if f.err == nil {
		f.err = f.w.Flush()
	}
}
