package transfer

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rexcarcer/rexcarcer/zfssync"
	"github.com/rexcarcer/rexcarcer/zfssync/chunk"
)

// changed returns b with one byte in a hundred new, in runs of 16 KiB.
func changed(b []byte, seed uint64) []byte {
	b = bytes.Clone(b)
	runs := len(b) / 100 >> 14
	for i := range runs {
		copy(b[i*(len(b)/runs):], noise(seed+uint64(i), 16<<10))
	}
	return b
}

func TestOnlyChunksThatNothingHereHasTravel(t *testing.T) {
	t.Parallel()
	there, here := newMem(zfssync.FormatTar), newMem(zfssync.FormatTar)
	data := noise(1, 24<<20)
	src, i := illHost(t, "host-b", there, func(n int) fault {
		if n == 3 {
			return fault{70_000, "cut"} // of the chunks themselves
		}
		return fault{at: -1}
	})
	reg := prometheus.NewRegistry()
	c := newClient(t, Config{Store: here, Delta: true, Work: t.TempDir(), Metrics: NewMetrics(reg)})
	for n, b := range [][]byte{data, changed(data, 9)} {
		before := i.sent()
		snap := there.add(volume, fmt.Sprint("s", n), blob{data: b})
		if _, err := c.EnsureObject(t.Context(), volume, ObjectOptions{}, []Source{src}); err != nil {
			t.Fatal(err)
		}
		wantSame(t, there, here, volume, snap.GUID)
		share := float64(i.sent()-before) / float64(len(b))
		t.Logf("version %d: %.2f%% of the bytes", n+1, 100*share)
		if n == 1 && share >= 0.05 {
			t.Errorf("1%% changed: %.2f%% of the bytes came, want under 5%%", 100*share)
		}
	}
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if got := f.GetMetric()[0].GetCounter().GetValue(); f.GetName() == "rexcarcer_transfer_reused_bytes_total" && got < 0.9*float64(len(data)) {
			t.Errorf("metrics tell of %v bytes reused", got)
		}
	}
}

func TestANewBaseFetchesWhatTheOldOneLacks(t *testing.T) {
	t.Parallel()
	there, here := newMem(zfssync.FormatTar), newMem(zfssync.FormatTar)
	img := there.addImage(2, 2<<20)
	src, i := illHost(t, "host-b", there, func(int) fault { return fault{at: -1} })
	old := there.snaps[layerObject(1)][0]
	old.Object, old.GUID = layerObject(8), "g-old"
	old.blob = blob{data: changed(old.blob.data, 5)}
	here.snaps[old.Object] = []memSnap{old}
	c := newClient(t, Config{Store: here, Delta: true, Work: t.TempDir()})
	if err := c.EnsureImage(t.Context(), img, []Source{src}); err != nil {
		t.Fatal(err)
	}
	wantSame(t, there, here, layerObject(1), "g-"+key(1))
	wantSame(t, there, here, layerObject(2), "g-"+key(2))
	if i.sent() > 2<<20+400_000 {
		t.Errorf("%d bytes came, want little more than the upper layer", i.sent())
	}
}

func TestALieAboutChunksIsFoundOutAndTheWholeIsFetched(t *testing.T) {
	t.Parallel()
	there, here := newMem(zfssync.FormatTar), newMem(zfssync.FormatTar)
	data := noise(1, 1<<20)
	here.snaps[volume] = []memSnap{{there.add(volume, "s0", blob{data: data}), blob{data: data}}}
	snap := there.add(volume, "s1", blob{data: changed(append(data, data...), 3)})
	liar, _ := illHost(t, "liar", there, func(int) fault { return fault{frameHeader + 500, "flip"} })
	honest, _ := illHost(t, "honest", there, func(int) fault { return fault{at: -1} })
	c := newClient(t, Config{Store: here, Delta: true, Work: t.TempDir()})
	if _, err := c.EnsureObject(t.Context(), volume, ObjectOptions{}, []Source{liar, honest}); err != nil {
		t.Fatal(err)
	}
	wantSame(t, there, here, volume, snap.GUID)
}

func TestPickRefusesRangesThatAreNone(t *testing.T) {
	t.Parallel()
	p := chunk.Params{Min: 64, Avg: 256, Max: 1024}
	data := noise(1, 10_000)
	var out bytes.Buffer
	pairs := func(n ...uint32) (b ranges) {
		for _, v := range n {
			b = binary.BigEndian.AppendUint32(b, v)
		}
		return b
	}
	for _, bad := range []ranges{pairs(3, 0), pairs(2, 1, 1, 1), pairs(1<<31, 1<<31), pairs(0, 5000)} {
		if err := pick(bytes.NewReader(data), p, bad, &out); err == nil {
			t.Errorf("%x was taken", bad)
		}
	}
	out.Reset()
	if err := pick(bytes.NewReader(data), p, pairs(0, 2, 4, 1), &out); err != nil || out.Len() == 0 {
		t.Errorf("%v, %d bytes", err, out.Len())
	}
}

// What a stream needs in memory is measured on both sides together, since they are in one process here. It runs alone:
// a test without t.Parallel does.
func TestMemoryDoesNotGrowWithTheStream(t *testing.T) {
	there := newMem(zfssync.FormatTar)
	const size = 512 << 20
	there.add(volume, "a", blob{seed: 1, size: size})
	src := newFabric(t).host(t, "host-b", there)
	c := newClient(t, Config{Store: &forgetting{memStore: newMem(zfssync.FormatTar)}})
	before, peak := inUse(), uint64(0)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				peak = max(peak, inUse())
			case <-stop:
				return
			}
		}
	}()
	_, err := c.EnsureObject(t.Context(), volume, ObjectOptions{}, []Source{src})
	close(stop)
	<-done
	if err != nil {
		t.Fatal(err)
	}
	used := float64(peak-min(before, peak)) / (1 << 20)
	t.Logf("a stream of %d MiB: %.1f MiB of memory for sender and receiver", size>>20, used)
	if used >= 64 {
		t.Errorf("%.1f MiB are used, want under 64", used)
	}
}

func inUse() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// forgetting reads streams and keeps nothing.
type forgetting struct{ *memStore }

func (*forgetting) Receive(_ context.Context, _ zfssync.Object, _ zfssync.ReceiveOptions, r io.Reader) error {
	n, err := io.Copy(io.Discard, r)
	if err == nil && n < 512<<20 {
		err = fmt.Errorf("%d bytes", n)
	}
	return err
}
