package chunk

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"
)

var small = Params{Min: 64, Avg: 256, Max: 1024}

// noise returns n bytes that do not compress and do not repeat.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	c := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	_, _ = c.Read(b)
	return b
}

func split(t interface{ Fatal(...any) }, b []byte, p Params) (out [][]byte) {
	s := Split(bytes.NewReader(b), p)
	for {
		c, err := s.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, slices.Clone(c))
	}
}

func TestChunksTogetherAreTheStreamAndKeepTheirSizes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b := noise(rapid.Uint64().Draw(t, "seed"), rapid.IntRange(0, 20000).Draw(t, "size"))
		if rapid.Bool().Draw(t, "zeros") {
			clear(b[len(b)/3:])
		}
		chunks := split(t, b, small)
		if got := slices.Concat(chunks...); !bytes.Equal(got, b) {
			t.Fatalf("%d bytes came back as %d others", len(b), len(got))
		}
		for i, c := range chunks {
			if len(c) > small.Max || len(c) <= small.Min && i < len(chunks)-1 {
				t.Fatalf("chunk %d of %d has %d bytes", i, len(chunks), len(c))
			}
		}
	})
}

func TestBoundariesDoNotDependOnHowTheStreamIsRead(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b := noise(rapid.Uint64().Draw(t, "seed"), 10000)
		want := split(t, b, small)
		s := Split(&dripping{b, rapid.IntRange(1, 3000).Draw(t, "step")}, small)
		for i := range want {
			if got, err := s.Next(); err != nil || !bytes.Equal(got, want[i]) {
				t.Fatalf("chunk %d differs: %d bytes, %v", i, len(got), err)
			}
		}
	})
}

type dripping struct {
	b    []byte
	step int
}

func (d *dripping) Read(p []byte) (int, error) {
	if len(d.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), d.step)], d.b)
	d.b = d.b[n:]
	return n, nil
}

func TestAnInsertionLeavesTheOtherBoundariesAlone(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b := noise(rapid.Uint64().Draw(t, "seed"), 100_000)
		at := rapid.IntRange(0, len(b)).Draw(t, "at")
		put := noise(rapid.Uint64().Draw(t, "put"), rapid.IntRange(1, 200).Draw(t, "n"))
		old := map[string]bool{}
		for _, c := range split(t, b, small) {
			old[string(c)] = true
		}
		fresh := 0
		for _, c := range split(t, slices.Insert(slices.Clone(b), at, put...), small) {
			if !old[string(c)] {
				fresh += len(c)
			}
		}
		if fresh > 12*small.Max {
			t.Fatalf("%d bytes put in at %d made %d bytes new", len(put), at, fresh)
		}
	})
}

func TestChunksGrowWithTheStreamSoThatTheirNumberDoesNot(t *testing.T) {
	t.Parallel()
	for size := int64(1); size < 1<<43; size *= 3 {
		p := ParamsFor(size)
		if err := p.Check(); err != nil {
			t.Fatal(err)
		}
		if n := size / int64(p.Avg); n > wantChunks && p.Avg < largestAvg {
			t.Errorf("%d bytes: %d chunks", size, n)
		}
	}
	// Sizes gather around the average.
	b := noise(1, 8<<20)
	n := len(split(t, b, ParamsFor(1)))
	if avg := len(b) / n; avg < 5<<10 || avg > 14<<10 {
		t.Errorf("average chunk is %d bytes, want about 8 KiB", avg)
	}
}

func TestAPackedStreamIsAnOrdinaryZstdFile(t *testing.T) {
	t.Parallel()
	raw := append(noise(3, 100_000), bytes.Repeat([]byte("text "), 20_000)...)
	var packed bytes.Buffer
	x, err := Pack(t.Context(), bytes.NewReader(raw), &packed, small)
	if err != nil {
		t.Fatal(err)
	}
	if x.RawBytes() != int64(len(raw)) || x.PackedBytes() != int64(packed.Len()) {
		t.Errorf("index tells %d and %d bytes, want %d and %d", x.RawBytes(), x.PackedBytes(), len(raw), packed.Len())
	}
	z, err := zstd.NewReader(bytes.NewReader(packed.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	if got, err := io.ReadAll(z); err != nil || !bytes.Equal(got, raw) {
		t.Errorf("unpacked %d bytes, %v, want the stream", len(got), err)
	}
	plain, err := ReadPlain(bytes.NewReader(raw), small)
	if err != nil || plain.Sum() != x.Sum() {
		t.Errorf("plain index has sum %x, %v, want %x", plain.Sum(), err, x.Sum())
	}
	var again bytes.Buffer
	if _, err := Pack(t.Context(), bytes.NewReader(raw), &again, small); err != nil || !bytes.Equal(again.Bytes(), packed.Bytes()) {
		t.Errorf("packing twice gave two files, %v", err)
	}
}

func TestIndexSurvivesAFileAndNotAFlippedBit(t *testing.T) {
	t.Parallel()
	for _, packed := range []bool{true, false} {
		x := sample(t, packed)
		var b bytes.Buffer
		if n, err := x.WriteTo(&b); err != nil || n != int64(b.Len()) {
			t.Fatalf("wrote %d bytes, %v, want %d", n, err, b.Len())
		}
		got, err := ReadIndex(bytes.NewReader(b.Bytes()))
		if err != nil || got.Sum() != x.Sum() || got.Params != x.Params || !slices.Equal(got.Chunks, x.Chunks) {
			t.Fatalf("packed=%t: it came back otherwise: %v", packed, err)
		}
		for i := range b.Len() {
			c := slices.Clone(b.Bytes())
			c[i] ^= 1 << (i % 8)
			if _, err := ReadIndex(bytes.NewReader(c)); !errors.Is(err, ErrIndex) {
				t.Fatalf("packed=%t, bit of byte %d flipped: got %v", packed, i, err)
			}
			if _, err := ReadIndex(bytes.NewReader(c[:i])); !errors.Is(err, ErrIndex) {
				t.Fatalf("packed=%t, cut at %d: got %v", packed, i, err)
			}
		}
	}
}

func sample(t testing.TB, packed bool) *Index {
	t.Helper()
	raw := noise(9, 3000)
	x, err := ReadPlain(bytes.NewReader(raw), small)
	if packed {
		x, err = Pack(t.Context(), bytes.NewReader(raw), io.Discard, small)
	}
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func FuzzReadIndex(f *testing.F) {
	for _, packed := range []bool{true, false} {
		var b bytes.Buffer
		if _, err := sample(f, packed).WriteTo(&b); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
		f.Add(b.Bytes()[:40])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := ReadIndex(bytes.NewReader(b))
		if err != nil {
			if !errors.Is(err, ErrIndex) {
				t.Fatalf("error without ErrIndex: %v", err)
			}
			return
		}
		var again bytes.Buffer
		if _, err := x.WriteTo(&again); err != nil || !bytes.HasPrefix(b, again.Bytes()) {
			t.Fatalf("read and written again it differs: %v", err)
		}
	})
}

func TestAFrameThatPromisesMoreThanTheIndexIsRefused(t *testing.T) {
	t.Parallel()
	z, err := NewPacker()
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	bomb := z.Frame(nil, make([]byte, 32<<20))
	if got, err := z.Open(nil, bomb, 4096); err == nil || cap(got) > 1<<20 {
		t.Errorf("got %d bytes, %v, want a refusal without memory", cap(got), err)
	}
	if _, err := z.Open(nil, []byte("nonsense"), 8); err == nil {
		t.Error("nonsense was opened")
	}
}
