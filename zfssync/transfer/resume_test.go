package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/zfssync"
)

func TestAKilledReceiverGoesOnFromItsTokenOrSpool(t *testing.T) {
	t.Parallel()
	for _, format := range []zfssync.Format{zfssync.FormatZFS, zfssync.FormatTar} {
		there, here := newMem(format), newMem(format)
		snap := there.add(volume, "a", blob{data: noise(1, 120*FrameSize)})
		spool := t.TempDir()
		total := int64(0)
		src, i := illHost(t, "host-b", there, func(int) fault { return fault{at: -1} })
		points := []int64{5 * FrameSize, 6*FrameSize + 77, 7 * FrameSize, 8*FrameSize - 1, 9 * FrameSize} // each counted from the last one on
		for _, stop := range points {
			ctx, cancel := context.WithCancel(t.Context())
			c := newClient(t, Config{Store: &stopping{here, stop, cancel, format == zfssync.FormatTar}, Spool: spool})
			if format == zfssync.FormatTar { // the spool is filled before the store sees anything
				src := src
				src.HTTP = &stopAfter{src.HTTP, stop, cancel}
				_, err := c.EnsureObject(ctx, volume, ObjectOptions{}, []Source{src})
				wantStopped(t, err, ctx)
				continue
			}
			_, err := c.EnsureObject(ctx, volume, ObjectOptions{}, []Source{src})
			wantStopped(t, err, ctx)
		}
		c := newClient(t, Config{Store: here, Spool: spool})
		before := i.sent()
		if _, err := c.EnsureObject(t.Context(), volume, ObjectOptions{}, []Source{src}); err != nil {
			t.Fatal(err)
		}
		wantSame(t, there, here, volume, snap.GUID)
		if last := i.sent() - before; last > 100*FrameSize {
			t.Errorf("%s: the last of %d tries brought %d bytes again", format, len(points)+1, last)
		}
		if left, _ := filepath.Glob(spool + "/*"); len(left) > 0 {
			t.Errorf("%s: left in the spool: %v", format, left)
		}
		total += i.sent()
		t.Logf("%s: %d kills, %.2f times the bytes", format, len(points), float64(total)/float64(120*FrameSize))
	}
}

func wantStopped(t *testing.T, err error, ctx context.Context) {
	t.Helper()
	if err == nil || ctx.Err() == nil {
		t.Fatalf("it was not stopped: %v", err)
	}
}

// stopping ends the caller's ctx when the store has read some bytes.
type stopping struct {
	*memStore
	after int64
	stop  func()
	off   bool
}

func (s *stopping) Receive(ctx context.Context, o zfssync.Object, opt zfssync.ReceiveOptions, r io.Reader) error {
	if s.off {
		return s.memStore.Receive(ctx, o, opt, r)
	}
	return s.memStore.Receive(ctx, o, opt, &stopReader{r, s.after, s.stop})
}

type stopReader struct {
	r    io.Reader
	left int64
	stop func()
}

func (s *stopReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p[:min(len(p), 10_000)])
	if s.left -= int64(n); s.left <= 0 {
		s.stop()
	}
	return n, err
}

// stopAfter ends the caller's ctx when so many bytes have come over the wire.
type stopAfter struct {
	http.RoundTripper
	after int64
	stop  func()
}

func (s *stopAfter) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := s.RoundTripper.RoundTrip(r)
	if err == nil && r.URL.Path == pathStream {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{&stopReader{resp.Body, s.after, s.stop}, resp.Body}
	}
	return resp, err
}

func TestASpoolThatWasSpoiledIsThrownAway(t *testing.T) {
	t.Parallel()
	there, here, spool := newMem(zfssync.FormatTar), newMem(zfssync.FormatTar), t.TempDir()
	snap := there.add(volume, "a", blob{data: noise(1, 10*FrameSize)})
	src := newFabric(t).host(t, "host-b", there)
	ctx, cancel := context.WithCancel(t.Context())
	half := src
	half.HTTP = &stopAfter{src.HTTP, 6 * FrameSize, cancel}
	_, err := newClient(t, Config{Store: here, Spool: spool}).EnsureObject(ctx, volume, ObjectOptions{}, []Source{half})
	wantStopped(t, err, ctx)
	parts, _ := filepath.Glob(spool + "/*.part")
	if len(parts) != 1 {
		t.Fatalf("spool: %v", parts)
	}
	b, err := os.ReadFile(parts[0])
	if err != nil || len(b) < FrameSize {
		t.Fatalf("%d bytes are spooled, %v", len(b), err)
	}
	b[100] ^= 1
	if err := os.WriteFile(parts[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	c := newClient(t, Config{Store: here, Spool: spool})
	_, err = c.EnsureObject(t.Context(), volume, ObjectOptions{}, []Source{src, {Name: "again", HTTP: src.HTTP}})
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, there, here, volume, snap.GUID)
	if err := os.WriteFile(filepath.Join(spool, "old.part"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if removed, err := c.SweepSpool(time.Now().Add(time.Hour)); err != nil || len(removed) != 1 {
		t.Errorf("swept %v, %v", removed, err)
	}
}

func TestAStoreThatFailsKeepsItsErrorAndTheNextCallFinishes(t *testing.T) {
	t.Parallel()
	there, here := newMem(zfssync.FormatTar), newMem(zfssync.FormatTar)
	img := there.addImage(3, 2*FrameSize)
	src := newFabric(t).host(t, "host-b", there)
	c := newClient(t, Config{Store: here})
	points, n := 0, 0
	for at := 1; ; at++ {
		n = 0
		here.fail = func(step string) error {
			if n++; n == at {
				return fmt.Errorf("%s: %w", step, zfssync.ErrNoSpace)
			}
			return nil
		}
		err := c.EnsureImage(t.Context(), img, []Source{src})
		if err == nil {
			break
		}
		if points++; !errors.Is(err, zfssync.ErrNoSpace) || here.HasImage(img) {
			t.Fatalf("point %d: %v, image here: %t", at, err, here.HasImage(img))
		}
		here.fail = nil
		if err := c.EnsureImage(t.Context(), img, []Source{src}); err != nil {
			t.Fatalf("after point %d: %v", at, err)
		}
		here.snaps, here.images = map[zfssync.Object][]memSnap{}, map[string]zfssync.Image{}
	}
	if points != 6 {
		t.Errorf("%d points, want two a layer", points)
	}
	if got := c.scores.order([]Source{{Name: "fresh"}, src}, nil); got[0].Name != "fresh" || c.scores.last["host-b"].points > 0 {
		t.Error("the source was blamed for a full disk here")
	}
}
