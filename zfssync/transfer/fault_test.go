package transfer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/pki"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

// illHost serves a store that misbehaves as plan says.
func illHost(t testing.TB, name string, store Store, plan func(request int) fault) (Source, *ill) {
	t.Helper()
	i := &ill{Handler: NewServer(ServerConfig{Store: store, Allow: allowHosts, MaxStreams: 100}), plan: plan}
	return newFabric(t).serve(t, name, pki.RoleHost, i), i
}

// once is a plan: the first request ends badly, the others do not.
func once(f fault) func(int) fault {
	return func(n int) fault {
		if n == 0 {
			return f
		}
		return fault{at: -1}
	}
}

const frameWire = frameHeader + FrameSize

// places are bytes of a response where it hurts: in and around headers, payloads and the end.
func places(frames, total int) (at []int64) {
	for f := range frames {
		for _, d := range []int{0, 1, 4, 5, 8, 9, 20, frameHeader - 1, frameHeader, frameHeader + 1, frameHeader + FrameSize/2, frameWire - 1} {
			if p := f*frameWire + d; p < total {
				at = append(at, int64(p))
			}
		}
	}
	return at
}

// twoAndAHalf is content whose stream ("\n" first) is two full frames and half a one.
const (
	twoAndAHalf = 2*FrameSize + FrameSize/2
	wireBytes   = 3*frameHeader + twoAndAHalf + 1 + frameHeader + endSize
)

func TestACutAtAnyPlaceCostsAtMostOneFrame(t *testing.T) {
	t.Parallel()
	there := newMem(zfssync.FormatTar)
	snap := there.add(volume, "a", blob{data: noise(1, twoAndAHalf)})
	at := places(4, wireBytes)
	for _, p := range at {
		here := newMem(zfssync.FormatTar)
		src, i := illHost(t, "host-b", there, once(fault{p, "cut"}))
		c := newClient(t, Config{Store: here})
		if _, err := c.EnsureObject(t.Context(), volume, ObjectOptions{}, []Source{src}); err != nil {
			t.Fatalf("cut at %d: %v", p, err)
		}
		wantSame(t, there, here, volume, snap.GUID)
		if extra := i.sent() - wireBytes; extra > frameWire+frameHeader {
			t.Errorf("cut at %d: %d bytes too many were sent", p, extra)
		}
	}
	t.Logf("%d places", len(at))
}

func TestAFlippedBitNeverReachesTheStore(t *testing.T) {
	t.Parallel()
	there := newMem(zfssync.FormatTar)
	snap := there.add(volume, "a", blob{data: noise(1, twoAndAHalf)})
	at := places(4, wireBytes)
	for _, p := range at {
		here := newMem(zfssync.FormatTar)
		liar, _ := illHost(t, "liar", there, func(int) fault { return fault{p, "flip"} })
		honest, _ := illHost(t, "honest", there, once(fault{at: -1}))
		sources := []Source{liar, honest}
		c := newClient(t, Config{Store: here, Stall: 2 * time.Second})
		if _, err := c.EnsureObject(t.Context(), volume, ObjectOptions{}, sources); err != nil {
			t.Fatalf("flip at %d: %v", p, err)
		}
		wantSame(t, there, here, volume, snap.GUID)
		if got := c.scores.order(sources, nil)[0].Name; got != "honest" {
			t.Errorf("flip at %d: next time %s is asked first", p, got)
		}
		alone := newMem(zfssync.FormatTar)
		c = newClient(t, Config{Store: alone, Stall: 2 * time.Second, Tries: 1})
		if _, err := c.EnsureObject(t.Context(), volume, ObjectOptions{}, sources[:1]); err == nil || len(alone.received) > 0 {
			t.Errorf("flip at %d: %v, and %v was received from a liar alone", p, err, alone.received)
		}
	}
	t.Logf("%d places", len(at))
}

func TestAStallAndATrickleEndAndAnotherHostGoesOn(t *testing.T) {
	t.Parallel()
	there := newMem(zfssync.FormatTar)
	snap := there.add(volume, "a", blob{data: noise(1, twoAndAHalf)})
	for _, what := range []string{"stall", "drip"} {
		for _, p := range []int64{0, 20, frameHeader, frameWire, frameWire + 99, 2*frameWire + 7} {
			here := newMem(zfssync.FormatTar)
			bad, _ := illHost(t, "bad", there, func(int) fault { return fault{p, what} })
			good, i := illHost(t, "good", there, once(fault{at: -1}))
			c := newClient(t, Config{Store: here, Stall: 400 * time.Millisecond, Tries: 20})
			// A busy machine may be slow enough to look like a stall once: there are tries left.
			if _, err := c.EnsureObject(t.Context(), volume, ObjectOptions{}, []Source{bad, good}); err != nil {
				t.Fatalf("%s at %d: %v", what, p, err)
			}
			wantSame(t, there, here, volume, snap.GUID)
			if i.sent() == 0 {
				t.Errorf("%s at %d: the good host was not asked", what, p)
			}
		}
	}
}

func TestAHostThatIsGoneIsALaterChoice(t *testing.T) {
	t.Parallel()
	there, here := newMem(zfssync.FormatTar), newMem(zfssync.FormatTar)
	img := there.addImage(2, 1000)
	gone := Source{Name: "gone", HTTP: roundTrip(func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") })}
	good := newFabric(t).host(t, "good", there)
	c := newClient(t, Config{Store: here})
	if err := c.EnsureImage(t.Context(), img, []Source{gone, good}); err != nil {
		t.Fatal(err)
	}
	err := c.EnsureImage(t.Context(), strings.Replace(img, "aa", "bb", 1), []Source{gone})
	if !errors.Is(err, ErrNowhere) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("got %v", err)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestALineThatBreaksAllTheTimeStillArrives(t *testing.T) {
	t.Parallel()
	there, here := newMem(zfssync.FormatTar), newMem(zfssync.FormatTar)
	snap := there.add(volume, "a", blob{data: noise(1, 20*FrameSize)})
	// Each connection brings one frame and a bit.
	src, i := illHost(t, "host-b", there, func(int) fault { return fault{frameWire + 5000, "cut"} })
	c := newClient(t, Config{Store: here, Tries: 2})
	if _, err := c.EnsureObject(t.Context(), volume, ObjectOptions{}, []Source{src}); err != nil {
		t.Fatal(err)
	}
	wantSame(t, there, here, volume, snap.GUID)
	if n := i.requests(); n < 20 {
		t.Errorf("%d requests, want one a frame", n)
	}
}

func TestAnotherStreamOfTheSameSnapshotBeginsAnew(t *testing.T) {
	t.Parallel()
	one, two, here := newMem(zfssync.FormatTar), newMem(zfssync.FormatTar), newMem(zfssync.FormatTar)
	one.add(volume, "a", blob{data: noise(1, 3*FrameSize)})
	snap := two.add(volume, "a", blob{data: noise(2, 3*FrameSize)}) // as two ZFS pools may write it
	cut, _ := illHost(t, "cut", one, func(int) fault { return fault{frameWire + 100, "cut"} })
	cut2 := cut
	cut2.HTTP = &closing{inner: cut.HTTP}
	c := newClient(t, Config{Store: here})
	if _, err := c.EnsureObject(t.Context(), volume, ObjectOptions{}, []Source{cut2, newFabric(t).host(t, "two", two)}); err != nil {
		t.Fatal(err)
	}
	wantSame(t, two, here, volume, snap.GUID)
}

// closing lets one stream through and then refuses to connect.
type closing struct {
	inner   http.RoundTripper
	mu      sync.Mutex
	streams int
}

func (c *closing) RoundTrip(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.URL.Path == pathStream {
		if c.streams++; c.streams > 1 {
			return nil, errors.New("connection refused")
		}
	}
	return c.inner.RoundTrip(r)
}

func FuzzAPeerMaySendAnything(f *testing.F) {
	there := newMem(zfssync.FormatTar)
	there.add(volume, "a", blob{data: []byte("content of a volume")})
	rec := record(f, there)
	f.Add(rec)
	f.Add(rec[:len(rec)-5])
	f.Add(append(bytes.Clone(rec), rec...))
	f.Fuzz(func(t *testing.T, b []byte) {
		src := Source{Name: "peer", HTTP: roundTrip(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(b))}, nil
		})}
		c, err := NewClient(Config{Store: newMem(zfssync.FormatTar), Tries: 1})
		if err != nil {
			t.Fatal(err)
		}
		p := c.pull(nil, []Source{src}, newTeller(nil, Step{}))
		var got []byte
		err = p.feedTo(t.Context(), func(_ context.Context, r io.Reader) (err error) { got, err = io.ReadAll(r); return err })
		if err == nil && (p.bytes != int64(len(got)) || !bytes.Contains(b, []byte{frameEnd})) {
			t.Fatalf("%d bytes came of %d without an end", len(got), len(b))
		}
	})
}

// record is the body of a good answer.
func record(f *testing.F, m *memStore) []byte {
	f.Helper()
	var b bytes.Buffer
	src := newFabric(f).host(f, "host", m)
	q := queryOf(volume)
	q.Set("guid", "g-w.db.data-a")
	resp, err := src.request(context.Background(), http.MethodGet, pathStream, q, http.NoBody)
	if err != nil {
		f.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := b.ReadFrom(resp.Body); err != nil {
		f.Fatal(err)
	}
	return b.Bytes()
}
