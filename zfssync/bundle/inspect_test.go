package bundle_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"

	"github.com/rexcarcer/rexcarcer/zfssync"
	"github.com/rexcarcer/rexcarcer/zfssync/bundle"
)

func tarOf(t testing.TB, members ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range members {
		h.Mode = 0o644
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(w, zeros{}, h.Size); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func zst(t testing.TB, b []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(b, nil)
}

func TestCase36CraftedArchivesAreRefused(t *testing.T) {
	t.Parallel()
	file := func(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeReg, Size: 5} }
	link := func(kind byte, name, to string) tar.Header {
		return tar.Header{Name: name, Typeflag: kind, Linkname: to}
	}
	limits := zfssync.Limits{Entries: 50, Bytes: 200 << 20, Ratio: 100}
	for name, tt := range map[string]struct {
		packed []byte
		want   bundle.Reason
	}{
		"good": {zst(t, tarOf(t, file("etc/passwd"), link(tar.TypeSymlink, "bin", "usr/bin"), link(tar.TypeSymlink, "etc/mtab", "/proc/mounts"),
			link(tar.TypeLink, "etc/hard", "etc/passwd"), tar.Header{Name: "dev/null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3})), ""},
		"plain":               {tarOf(t, file("a")), ""},
		"climbing member":     {zst(t, tarOf(t, file("../etc/passwd"))), bundle.Escape},
		"climbing in between": {zst(t, tarOf(t, file("a/../../etc/passwd"))), bundle.Escape},
		"absolute member":     {zst(t, tarOf(t, file("/etc/passwd"))), bundle.Escape},
		"absolute hard link":  {zst(t, tarOf(t, link(tar.TypeLink, "shadow", "/etc/shadow"))), bundle.Escape},
		"climbing hard link":  {zst(t, tarOf(t, link(tar.TypeLink, "a/shadow", "../../etc/shadow"))), bundle.Escape},
		"climbing link":       {zst(t, tarOf(t, link(tar.TypeSymlink, "a/up", "../../.."))), bundle.Escape},
		"disk":                {zst(t, tarOf(t, tar.Header{Name: "dev/sda", Typeflag: tar.TypeBlock, Devmajor: 8})), bundle.Device},
		"kernel memory":       {zst(t, tarOf(t, tar.Header{Name: "tmp/mem", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 1})), bundle.Device},
		"data behind the end": {zst(t, append(tarOf(t, file("a")), "hello"...)), bundle.TrailingData},
		"behind the frame":    {append(zst(t, tarOf(t, file("a"))), "hello, hello"...), bundle.TrailingData},
		"cut":                 {zst(t, tarOf(t, file("a"))[:514]), bundle.Malformed},
		"frame cut":           {zst(t, tarOf(t, file("a")))[:30], bundle.Malformed},
		"empty":               {zst(t, tarOf(t)), bundle.Malformed},
		"nothing":             {nil, bundle.Malformed},
		"no archive":          {[]byte(strings.Repeat("hello", 500)), bundle.Malformed},
		"by ratio":            {zst(t, tarOf(t, tar.Header{Name: "big", Typeflag: tar.TypeReg, Size: 150 << 20})), bundle.Bomb},
		"by size":             {tarOf(t, tar.Header{Name: "big", Typeflag: tar.TypeReg, Size: 1}, tar.Header{Name: "big2", Typeflag: tar.TypeReg, Size: 200 << 20}), bundle.Bomb},
		"by entries":          {gz(t, tarOf(t, many(51)...)), bundle.Bomb},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := bundle.Inspect(t.Context(), "debian12", bytes.NewReader(tt.packed), limits)
			r, _ := bundle.IsRefusal(err)
			if tt.want == "" && err != nil || tt.want != "" && (r == nil || r.Reason != tt.want) {
				t.Errorf("got %v, want reason %q", err, tt.want)
			}
		})
	}
}

func many(n int) []tar.Header {
	out := make([]tar.Header, n)
	for i := range out {
		out[i] = tar.Header{Name: "f" + strings.Repeat("x", i), Typeflag: tar.TypeReg}
	}
	return out
}

func gz(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestInspectBlamesTheDiskForTheDisk(t *testing.T) {
	t.Parallel()
	broken := errors.New("input/output error")
	packed := tarOf(t, tar.Header{Name: "a", Typeflag: tar.TypeReg, Size: 5 << 20})
	r := io.MultiReader(bytes.NewReader(packed[:3<<20]), iotest.ErrReader(broken))
	if _, err := bundle.Inspect(t.Context(), "b", r, zfssync.Limits{}); !errors.Is(err, broken) {
		t.Errorf("got %v, want the read error", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := bundle.Inspect(ctx, "b", bytes.NewReader(packed), zfssync.Limits{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want canceled", err)
	}
}

// FuzzInspect: whatever is packed, the answer is an error or a count within the limits.
func FuzzInspect(f *testing.F) {
	f.Add(tarOf(f, tar.Header{Name: "a", Typeflag: tar.TypeReg, Size: 5}))
	f.Add(zst(f, tarOf(f, tar.Header{Name: "../a", Typeflag: tar.TypeReg, Size: 5})))
	f.Add(gz(f, tarOf(f, tar.Header{Name: "dev/sda", Typeflag: tar.TypeBlock})))
	f.Fuzz(func(t *testing.T, packed []byte) {
		limits := zfssync.Limits{Entries: 100, Bytes: 1 << 20, Ratio: 100}
		c, err := bundle.Inspect(t.Context(), "b", bytes.NewReader(packed), limits)
		if err == nil && (c.Entries > limits.Entries || c.Bytes > limits.Bytes || c.Entries == 0) {
			t.Errorf("passed with %+v", c)
		}
	})
}
