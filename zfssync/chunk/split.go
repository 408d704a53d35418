package chunk

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
)

// Params say how large chunks become.
type Params struct {
	Min int // bytes; no boundary is looked for before it; 64..Avg
	Avg int // bytes; a power of two, 256..4 MiB
	Max int // bytes; a boundary is set there at the latest; Avg..16 MiB
}

const (
	smallestAvg = 8 << 10 // 1 % changed, in runs of 16 KiB at random places, costs under 5 % of the bytes
	wantChunks  = 1 << 18 // of one stream
	largestAvg  = 4 << 20 // reached at 512 GiB
)

// ParamsFor returns the parameters for a stream of about size bytes: the same size in the same power of two gives the
// same parameters, so that two versions can be compared.
func ParamsFor(size int64) Params {
	avg := int64(smallestAvg)
	for avg < largestAvg && size/avg > wantChunks {
		avg *= 2
	}
	return Params{Min: int(avg / 4), Avg: int(avg), Max: int(avg * 4)}
}

// Check refuses parameters out of range.
func (p Params) Check() error {
	if p.Avg < 256 || p.Avg > largestAvg || bits.OnesCount(uint(p.Avg)) != 1 || p.Min < 64 || p.Min > p.Avg || p.Max < p.Avg || p.Max > 4*largestAvg {
		return fmt.Errorf("chunk sizes %d/%d/%d: want 64 <= min <= avg <= max <= 16 MiB, avg a power of two from 256 to 4 MiB", p.Min, p.Avg, p.Max)
	}
	return nil
}

// gear has a random-looking number for each byte. It is part of the format: other numbers, other boundaries.
var gear = makeGear()

func makeGear() (g [256]uint64) {
	for i := range g {
		sum := sha256.Sum256([]byte{'r', 'e', 'x', 'c', 'd', 'c', byte(i)})
		g[i] = binary.BigEndian.Uint64(sum[:])
	}
	return g
}

// Splitter reads a stream chunk by chunk.
type Splitter struct {
	r           io.Reader
	p           Params
	early, late uint64 // masks before and after Avg
	buf         []byte
	begin, end  int // of what is read and not handed out
	err         error
}

// Split returns a Splitter of r; p must have passed Check. It holds two chunks of the largest size in memory.
func Split(r io.Reader, p Params) *Splitter {
	n := bits.TrailingZeros(uint(p.Avg))
	// The hash shifts to the left, so its high bits know the last 64 bytes, the low ones only the last few. Two bits more
	// before Avg and two fewer after it gather the sizes around Avg (normalized chunking, section 3.4 of the paper).
	return &Splitter{r: r, p: p, early: highBits(n + 2), late: highBits(max(n-2, 1)), buf: make([]byte, 2*p.Max)}
}

func highBits(n int) uint64 { return ^uint64(0) << (64 - n) }

// Next returns the next chunk, valid until the next call, or io.EOF.
func (s *Splitter) Next() ([]byte, error) {
	if err := s.fill(); err != nil {
		return nil, err
	}
	if s.begin == s.end {
		return nil, io.EOF
	}
	n := s.cut(s.buf[s.begin:s.end])
	chunk := s.buf[s.begin : s.begin+n]
	s.begin += n
	return chunk, nil
}

// fill makes sure that a chunk of the largest size is in the buffer, or all that is left.
func (s *Splitter) fill() error {
	if s.end-s.begin >= s.p.Max || s.err != nil {
		return s.failed()
	}
	if len(s.buf)-s.begin < s.p.Max {
		s.end = copy(s.buf, s.buf[s.begin:s.end])
		s.begin = 0
	}
	for s.end-s.begin < s.p.Max && s.err == nil {
		var n int
		n, s.err = s.r.Read(s.buf[s.end:])
		s.end += n
	}
	return s.failed()
}

func (s *Splitter) failed() error {
	if s.err == nil || errors.Is(s.err, io.EOF) {
		return nil
	}
	return s.err
}

// cut returns the length of the first chunk of b.
func (s *Splitter) cut(b []byte) int {
	if len(b) <= s.p.Min {
		return len(b)
	}
	b = b[:min(len(b), s.p.Max)]
	middle := min(len(b), s.p.Avg)
	var h uint64
	i := s.p.Min
	for ; i < middle; i++ {
		if h = h<<1 + gear[b[i]]; h&s.early == 0 {
			return i + 1
		}
	}
	for ; i < len(b); i++ {
		if h = h<<1 + gear[b[i]]; h&s.late == 0 {
			return i + 1
		}
	}
	return len(b)
}
