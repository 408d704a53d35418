package source_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/zfssync/bundle"
	"github.com/rexcarcer/rexcarcer/zfssync/source"
)

// noise does not shrink when it is packed.
func noise(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return string(b)
}

// web serves dir; before may answer itself.
func web(t *testing.T, dir string, before func(w http.ResponseWriter, r *http.Request) bool) string {
	t.Helper()
	files := http.FileServer(http.Dir(dir))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if before == nil || !before(w, r) {
			files.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestBundleOverHTTPIsFetchedWithProgress(t *testing.T) {
	t.Parallel()
	k, from := newKey(t, "alice"), t.TempDir()
	text := noise(3 << 20)
	m := writeBundle(t, from, "b", 1, zst(t, tarOf(t, member{name: "a", text: text})), k)
	s, _ := newSources(t, source.Config{}, newKey(t, "bob"), k)
	var last, total int64
	f, err := s.Fetch(t.Context(), web(t, from, nil)+"/b.tar.zst", m.Digest, func(_ string, done, all int64) {
		if all > 0 {
			last, total = done, all
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, f); got != "a="+text {
		t.Error("the content is another")
	}
	if last != m.Size || total != m.Size {
		t.Errorf("progress ended at %d of %d, want %d", last, total, m.Size)
	}
}

// TestCase39CutDownloadGoesOnWhereItStopped: also in another process, and each byte is asked for once.
func TestCase39CutDownloadGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	k, from := newKey(t, "alice"), t.TempDir()
	m := writeBundle(t, from, "b", 1, zst(t, tarOf(t, member{name: "a", text: noise(1 << 20)})), k)
	payload, err := os.ReadFile(filepath.Join(from, "b.tar.zst"))
	if err != nil {
		t.Fatal(err)
	}
	var sent, cuts atomic.Int64
	url := web(t, from, func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, ".tar.zst") {
			return false
		}
		start := 0
		if h := r.Header.Get("Range"); h != "" {
			if _, err := fmt.Sscanf(h, "bytes=%d-", &start); err != nil {
				t.Error(err)
			}
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, len(payload)-1, len(payload)))
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(payload)-start))
		if start > 0 {
			w.WriteHeader(http.StatusPartialContent)
		}
		n, err := w.Write(payload[start:min(len(payload), start+200_000)])
		sent.Add(int64(n))
		if err == nil && start+200_000 < len(payload) {
			cuts.Add(1)
			panic(http.ErrAbortHandler) // the connection is cut
		}
		return true
	})
	s, dir := newSources(t, source.Config{}, k)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err = s.Fetch(ctx, url+"/b", "", func(_ string, done, _ int64) {
		if done > 0 {
			cancel() // this process is killed
		}
	})
	if err == nil {
		t.Fatal("a cancelled fetch succeeded")
	}
	again := source.New(source.Config{
		Dir: dir, Trusted: func() []bundle.Signer { return []bundle.Signer{k.Signer} }, Now: func() time.Time { return today }, Platform: "linux/amd64", Pause: time.Millisecond,
	})
	f, err := again.Fetch(t.Context(), url+"/b", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(read(t, f), "a=") || cuts.Load() < 4 {
		t.Errorf("%d cuts", cuts.Load())
	}
	// What was under way when the first process ended may have been sent twice.
	if most := m.Size + 200_000; sent.Load() > most {
		t.Errorf("%d bytes were sent, want at most %d of %d", sent.Load(), most, m.Size)
	}
}

func TestADamagedHalfIsFetchedAnewOnce(t *testing.T) {
	t.Parallel()
	k, from := newKey(t, "alice"), t.TempDir()
	m := writeBundle(t, from, "b", 1, zst(t, tarOf(t, member{name: "a", text: noise(5000)})), k)
	s, dir := newSources(t, source.Config{}, k)
	half := filepath.Join(dir, "partial", strings.TrimPrefix(m.Digest, "sha256:"))
	if err := os.MkdirAll(filepath.Dir(half), 0o700); err != nil {
		t.Fatal(err)
	}
	url := web(t, from, nil)
	for _, junk := range []int{100, int(m.Size), int(m.Size) + 7} {
		write(t, half, []byte(noise(junk)))
		f, err := s.Fetch(t.Context(), url+"/b", "", nil)
		if err != nil {
			t.Fatalf("with %d bytes of junk: %v", junk, err)
		}
		read(t, f)
	}
}

func TestServersThatMisbehaveAreSurvivedOrRefused(t *testing.T) {
	t.Parallel()
	k, from := newKey(t, "alice"), t.TempDir()
	writeBundle(t, from, "b", 1, zst(t, tarOf(t, member{name: "a", text: noise(300_000)})), k)
	payload, err := os.ReadFile(filepath.Join(from, "b.tar.zst"))
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		answer func(w http.ResponseWriter, n int64) bool // of the payload, from the first request on
		want   bundle.Reason                             // "": it is fetched all the same; "error": an ordinary error
	}{
		"busy at first": {func(w http.ResponseWriter, n int64) bool {
			if n < 3 {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			return n < 3
		}, ""},
		"silent at first": {func(w http.ResponseWriter, n int64) bool {
			if n > 1 {
				return false
			}
			_, _ = w.Write(payload[:1000])
			panic(http.ErrAbortHandler)
		}, ""},
		"down": {func(w http.ResponseWriter, _ int64) bool { w.WriteHeader(http.StatusBadGateway); return true }, "error"},
		"gone": {func(w http.ResponseWriter, _ int64) bool { w.WriteHeader(http.StatusNotFound); return true }, "error"},
		"redirects for ever": {func(w http.ResponseWriter, _ int64) bool {
			w.Header().Set("Location", "/b.tar.zst")
			w.WriteHeader(http.StatusFound)
			return true
		}, "error"},
		"lies about ranges": {func(w http.ResponseWriter, _ int64) bool {
			w.Header().Set("Content-Range", "bytes 5-9/10")
			w.WriteHeader(http.StatusPartialContent)
			return true
		}, "error"},
		"other bytes": {func(w http.ResponseWriter, _ int64) bool { _, _ = w.Write(make([]byte, len(payload))); return true }, bundle.WrongHash},
		"too many bytes": {func(w http.ResponseWriter, _ int64) bool {
			_, _ = w.Write(append(payload[:len(payload):len(payload)], 'x'))
			return true
		}, bundle.TrailingData},
		"endless": {func(w http.ResponseWriter, _ int64) bool {
			for {
				if _, err := w.Write(payload); err != nil {
					return true
				}
			}
		}, bundle.TrailingData},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var n atomic.Int64
			url := web(t, from, func(w http.ResponseWriter, r *http.Request) bool {
				return strings.HasSuffix(r.URL.Path, ".tar.zst") && tt.answer(w, n.Add(1))
			})
			s, dir := newSources(t, source.Config{}, k)
			f, err := s.Fetch(t.Context(), url+"/b", "", nil)
			switch _, refused := bundle.IsRefusal(err); {
			case tt.want == "" && err != nil:
				t.Errorf("got %v", err)
			case tt.want == "":
				read(t, f)
			case tt.want == "error" && (err == nil || refused):
				t.Errorf("got %v, want an ordinary error", err)
			case tt.want != "error":
				wantRefused(t, err, dir, tt.want)
			}
			if n.Load() > 20 {
				t.Errorf("%d requests", n.Load())
			}
		})
	}
}

func TestSilentServerIsGivenUp(t *testing.T) {
	t.Parallel()
	k, from := newKey(t, "alice"), t.TempDir()
	writeBundle(t, from, "b", 1, zst(t, tarOf(t, member{name: "a", text: noise(300_000)})), k)
	url := web(t, from, func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, ".tar.zst") {
			return false
		}
		w.Header().Set("Content-Length", "1000000")
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		return true
	})
	s, _ := newSources(t, source.Config{Stall: 300 * time.Millisecond}, k)
	_, err := s.Fetch(t.Context(), url+"/b", "", nil)
	if err == nil {
		t.Fatal("fetched")
	}
}

func TestUnsignedAndUnknownOnTheWeb(t *testing.T) {
	t.Parallel()
	k, from := newKey(t, "alice"), t.TempDir()
	writeBundle(t, from, "b", 1, []byte("x"), newKey(t, "mallory"))
	url := web(t, from, nil)
	s, dir := newSources(t, source.Config{}, k)
	_, err := s.Look(t.Context(), url+"/b")
	wantRefused(t, err, dir, bundle.Unsigned)
	_, err = s.Look(t.Context(), url+"/nothing")
	if _, refused := bundle.IsRefusal(err); err == nil || refused || !strings.Contains(err.Error(), "404") {
		t.Errorf("a name that is not there: got %v", err)
	}
	for _, ref := range []string{"http:///b", "http://u:p@" + strings.TrimPrefix(url, "http://") + "/b", url + "/", url + "/b?x=1"} {
		if _, err := s.Look(t.Context(), ref); err == nil {
			t.Errorf("%s: taken", ref)
		}
	}
}
