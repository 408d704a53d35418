package chunk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// site serves a packed file and its index, and can be made ill.
type site struct {
	file, list []byte
	fault      func(w http.ResponseWriter, r *http.Request) bool // true: it has answered
	requests   atomic.Int64
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.requests.Add(1)
	if s.fault != nil && s.fault(w, r) {
		return
	}
	b := s.file
	if strings.HasSuffix(r.URL.Path, Suffix) {
		b = s.list
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

func serve(t *testing.T, raw []byte, p Params) (*site, *Index, string) {
	t.Helper()
	s := &site{}
	x, packed := pack(t, raw, p)
	s.file = packed
	var list bytes.Buffer
	if _, err := x.WriteTo(&list); err != nil {
		t.Fatal(err)
	}
	s.list = list.Bytes()
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return s, x, srv.URL + "/debian12.tar.zst"
}

func pack(t *testing.T, raw []byte, p Params) (*Index, []byte) {
	t.Helper()
	var b bytes.Buffer
	x, err := Pack(t.Context(), bytes.NewReader(raw), &b, p)
	if err != nil {
		t.Fatal(err)
	}
	return x, b.Bytes()
}

func local(t *testing.T, b []byte, x *Index) *Local {
	t.Helper()
	l, err := NewLocal(bytes.NewReader(b), x)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// halfText is as compressible as a root file system is.
func halfText(seed uint64, n int) []byte {
	b := noise(seed, n)
	for i := 0; i+128 <= n; i += 128 {
		clear(b[i : i+64])
	}
	return b
}

func TestASecondVersionFetchesOnlyWhatChanged(t *testing.T) {
	t.Parallel()
	size := 16 << 20
	if testing.Short() {
		size = 8 << 20
	}
	old := halfText(1, size)
	for name, change := range map[string]func([]byte) []byte{
		"one place": func(b []byte) []byte { copy(b[size/8:], noise(2, len(b)/100)); return b },
		"ten files": func(b []byte) []byte {
			for i := range 10 {
				copy(b[i*len(b)/10:], noise(uint64(3+i), len(b)/1000))
			}
			return b
		},
		"put in at the front": func(b []byte) []byte { return append(noise(4, len(b)/100), b...) },
		"scattered runs of 16 KiB": func(b []byte) []byte {
			r := rand.New(rand.NewPCG(1, 2))
			for range len(b) >> 14 / 100 {
				copy(b[r.IntN(len(b)>>12-4)<<12:], halfText(r.Uint64(), 16<<10))
			}
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := ParamsFor(int64(len(old)))
			oldIndex, oldFile := pack(t, old, p)
			s, x, url := serve(t, change(bytes.Clone(old)), p)
			var out bytes.Buffer
			got, err := FetchChunked(t.Context(), url, Fetch{Have: []*Local{local(t, oldFile, oldIndex)}}, &out)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(out.Bytes(), s.file) {
				t.Fatal("the file came otherwise than it is there")
			}
			share := float64(got.Fetched) / float64(x.PackedBytes())
			t.Logf("1%% changed: %.2f%% of the bytes fetched in %d requests", 100*share, s.requests.Load())
			if share >= 0.05 {
				t.Errorf("fetched %.2f%% of the bytes, want under 5%%", 100*share)
			}
		})
	}
}

func TestWhateverIsAtHandTheFileIsTheSame(t *testing.T) {
	t.Parallel()
	raw := halfText(1, 60_000)
	s, x, url := serve(t, raw, small)
	rapid.Check(t, func(rt *rapid.T) {
		// A local file with some of the chunks, cut off and with a broken byte.
		mix := bytes.Clone(raw[rapid.IntRange(0, len(raw)).Draw(rt, "from"):])
		mix = append(mix, noise(7, 500)...)
		xm, err := ReadPlain(bytes.NewReader(mix), small)
		if err != nil {
			rt.Fatal(err)
		}
		mix[rapid.IntRange(0, len(mix)-1).Draw(rt, "broken")] ^= 0xff
		mix = mix[:rapid.IntRange(0, len(mix)).Draw(rt, "cut")]
		part := bytes.Clone(s.file[:rapid.IntRange(0, len(s.file)).Draw(rt, "partial")])
		var out bytes.Buffer
		o := Fetch{Have: []*Local{local(t, mix, xm)}, Partial: bytes.NewReader(part), Parallel: rapid.IntRange(1, 5).Draw(rt, "parallel")}
		got, err := FetchChunked(t.Context(), url, o, &out)
		if err != nil || !bytes.Equal(out.Bytes(), s.file) {
			rt.Fatalf("%v, or another file", err)
		}
		if got.Written != x.PackedBytes() || got.Fetched-int64(len(s.list))+got.Reused != x.PackedBytes() {
			rt.Fatalf("counts %+v do not add up to %d", got, x.PackedBytes())
		}
	})
}

func TestCutsAndServerErrorsAreRetriedWhereTheyCame(t *testing.T) {
	t.Parallel()
	s, _, url := serve(t, noise(1, 300_000), small)
	var n atomic.Int64
	s.fault = func(w http.ResponseWriter, r *http.Request) bool {
		switch n.Add(1) % 3 {
		case 0:
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		case 1:
			if r.Header.Get("Range") == "" {
				return false
			}
			var a, b int
			_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &a, &b)
			w.Header().Set("Content-Length", fmt.Sprint(b-a+1))
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(s.file[a : a+(b-a)/2])
			return true // the server closes: fewer bytes than promised
		}
		return false
	}
	var out bytes.Buffer
	if _, err := FetchChunked(t.Context(), url, Fetch{Parallel: 1}, &out); err != nil || !bytes.Equal(out.Bytes(), s.file) {
		t.Fatalf("got %v, or another file", err)
	}
}

func TestALiarAndAStallerAreFoundOut(t *testing.T) {
	t.Parallel()
	s, _, url := serve(t, noise(1, 100_000), small)
	s.file = bytes.Clone(s.file)
	s.file[len(s.file)/2] ^= 1
	var out bytes.Buffer
	if _, err := FetchChunked(t.Context(), url, Fetch{}, &out); err == nil || !strings.Contains(err.Error(), "check sum") {
		t.Errorf("a lie gave %v", err)
	}
	if !bytes.HasPrefix(s.file, out.Bytes()) {
		t.Error("wrong bytes were written")
	}
	s.fault = func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true }
	_, err := FetchChunked(t.Context(), url, Fetch{Stall: 20 * time.Millisecond, Retries: 1}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "nothing came for 20ms") {
		t.Errorf("a stall gave %v", err)
	}
}

func TestAServerWithoutRangesOrIndexStillServes(t *testing.T) {
	t.Parallel()
	s, _, url := serve(t, noise(1, 50_000), small)
	s.fault = func(_ http.ResponseWriter, r *http.Request) bool { r.Header.Del("Range"); return false }
	var out bytes.Buffer
	if _, err := FetchChunked(t.Context(), url, Fetch{}, &out); err != nil || !bytes.Equal(out.Bytes(), s.file) {
		t.Errorf("without ranges: %v, or another file", err)
	}
	s.fault = func(w http.ResponseWriter, r *http.Request) bool { http.NotFound(w, r); return true }
	out.Reset()
	if _, err := FetchChunked(t.Context(), url, Fetch{}, &out); !errors.Is(err, ErrNoIndex) || out.Len() > 0 {
		t.Errorf("without index: %v and %d bytes, want ErrNoIndex and none", err, out.Len())
	}
}
