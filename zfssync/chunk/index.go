package chunk

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ID is the SHA-256 of a chunk's bytes.
type ID [sha256.Size]byte

// Mark is the first half of the SHA-256 of a zstd frame. It tells a frame that another version of the compressor made;
// against forgers there are the ID and whatever signs the whole file.
type Mark [16]byte

func markOf(frame []byte) Mark {
	sum := sha256.Sum256(frame)
	return Mark(sum[:])
}

// Entry is one chunk of an Index.
type Entry struct {
	ID    ID
	Raw   uint32 // bytes in the stream
	Frame Mark   // of the zstd frame; zero when the index is of a stream that is not packed
	Size  uint32 // bytes of the zstd frame; 0 likewise
}

// Index lists the chunks of a stream in order.
type Index struct {
	Params
	Packed bool // Frame and Size are known: it describes a file that Pack wrote
	Chunks []Entry
}

// An index file is, in big-endian order: magic, version and flags, three sizes, number of entries, the entries, and the
// SHA-256 of all before. It is not signed: whoever changes it can only make a download fail, since the file that comes
// of it is checked as a whole.
const (
	magic      = "REXCHNK"
	version    = 1
	headerSize = len(magic) + 2 + 4*4
	entrySize  = sha256.Size + 4
	packedSize = entrySize + len(Mark{}) + 4
	maxEntries = 1 << 20
)

// ErrIndex is in every error about the content of an index.
var ErrIndex = errors.New("bad chunk index")

// RawBytes is the length of the stream.
func (x *Index) RawBytes() (n int64) {
	for _, e := range x.Chunks {
		n += int64(e.Raw)
	}
	return n
}

// PackedBytes is the length of the packed file; 0 when the index is not of one.
func (x *Index) PackedBytes() (n int64) {
	for _, e := range x.Chunks {
		n += int64(e.Size)
	}
	return n
}

// Sum is a SHA-256 over the ids of all chunks: equal for equal streams that were cut by equal parameters.
func (x *Index) Sum() ID {
	h := sha256.New()
	for _, e := range x.Chunks {
		h.Write(e.ID[:])
	}
	return ID(h.Sum(nil))
}

// WriteTo writes the index file.
func (x *Index) WriteTo(w io.Writer) (int64, error) {
	if err := x.check(); err != nil {
		return 0, err
	}
	h := sha256.New()
	out := bufio.NewWriterSize(io.MultiWriter(w, h), 64<<10)
	b := append(make([]byte, 0, packedSize), magic...)
	b = append(b, version, flags(x.Packed))
	for _, n := range []int{x.Min, x.Avg, x.Max, len(x.Chunks)} {
		b = binary.BigEndian.AppendUint32(b, uint32(n))
	}
	n := int64(len(b))
	_, _ = out.Write(b) // a bufio.Writer keeps its error for Flush
	for _, e := range x.Chunks {
		b = binary.BigEndian.AppendUint32(append(b[:0], e.ID[:]...), e.Raw)
		if x.Packed {
			b = binary.BigEndian.AppendUint32(append(b, e.Frame[:]...), e.Size)
		}
		n += int64(len(b))
		_, _ = out.Write(b)
	}
	if err := out.Flush(); err != nil {
		return n, err
	}
	m, err := w.Write(h.Sum(nil))
	return n + int64(m), err
}

func flags(packed bool) byte {
	if packed {
		return 1
	}
	return 0
}

func (x *Index) check() error {
	if err := x.Check(); err != nil {
		return errors.Join(ErrIndex, err)
	}
	if len(x.Chunks) > maxEntries {
		return fmt.Errorf("%w: %d chunks, at most %d are allowed", ErrIndex, len(x.Chunks), maxEntries)
	}
	return nil
}

// ReadIndex reads an index file from r, and nothing after it. It holds at most 2^20 entries, and no more memory than
// what has really come.
func ReadIndex(r io.Reader) (*Index, error) {
	h := sha256.New()
	in := io.TeeReader(r, h)
	head := make([]byte, headerSize)
	if _, err := io.ReadFull(in, head); err != nil {
		return nil, fmt.Errorf("%w: header: %w", ErrIndex, err)
	}
	if !bytes.HasPrefix(head, []byte(magic)) || head[len(magic)] != version || head[len(magic)+1] > 1 {
		return nil, fmt.Errorf("%w: it does not begin like one of version %d", ErrIndex, version)
	}
	num := func(i int) int { return int(binary.BigEndian.Uint32(head[len(magic)+2+4*i:])) }
	x := &Index{Params: Params{Min: num(0), Avg: num(1), Max: num(2)}, Packed: head[len(magic)+1] == 1}
	count := num(3)
	if err := x.check(); err != nil || count > maxEntries {
		return nil, errors.Join(fmt.Errorf("%w: %d chunks", ErrIndex, count), err)
	}
	size := entrySize
	if x.Packed {
		size = packedSize
	}
	b := make([]byte, size)
	for i := range count {
		if _, err := io.ReadFull(in, b); err != nil {
			return nil, fmt.Errorf("%w: entry %d of %d: %w", ErrIndex, i, count, err)
		}
		e := Entry{ID: ID(b), Raw: binary.BigEndian.Uint32(b[sha256.Size:])}
		if x.Packed {
			e.Frame, e.Size = Mark(b[entrySize:]), binary.BigEndian.Uint32(b[packedSize-4:])
		}
		if e.Raw == 0 || int(e.Raw) > x.Max || x.Packed && (e.Size == 0 || int(e.Size) > maxFrame(int(e.Raw))) {
			return nil, fmt.Errorf("%w: entry %d of %d has %d bytes, %d packed", ErrIndex, i, count, e.Raw, e.Size)
		}
		x.Chunks = append(x.Chunks, e)
	}
	want := h.Sum(nil)
	sum := make([]byte, sha256.Size)
	if _, err := io.ReadFull(r, sum); err != nil {
		return nil, fmt.Errorf("%w: check sum: %w", ErrIndex, err)
	}
	if !bytes.Equal(sum, want) {
		return nil, fmt.Errorf("%w: its check sum does not fit its content", ErrIndex)
	}
	return x, nil
}

// maxFrame is what a zstd frame of n bytes may need at most: stored blocks of 128 KiB with 3 bytes each, and a header.
func maxFrame(n int) int { return n + 3*(n>>17+1) + 64 }

// ReadPlain indexes the stream r.
func ReadPlain(r io.Reader, p Params) (*Index, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	x := &Index{Params: p}
	s := Split(r, p)
	for {
		b, err := s.Next()
		if errors.Is(err, io.EOF) {
			return x, nil
		}
		if err != nil {
			return nil, err
		}
		if len(x.Chunks) == maxEntries {
			return nil, fmt.Errorf("more than %d chunks: take larger ones", maxEntries)
		}
		x.Chunks = append(x.Chunks, Entry{ID: sha256.Sum256(b), Raw: uint32(len(b))})
	}
}
