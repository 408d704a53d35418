package transfer

import (
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/pki"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

// meeting lets the stream of one object begin only when others, elsewhere, have begun.
type meeting struct {
	mu    sync.Mutex
	begun map[string]chan struct{} // by object; closed when its stream was asked for
	host  map[string][]string      // who was asked for its stream
}

func newMeeting() *meeting {
	return &meeting{begun: map[string]chan struct{}{}, host: map[string][]string{}}
}

func (m *meeting) of(object string) chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.begun[object] == nil {
		m.begun[object] = make(chan struct{})
	}
	return m.begun[object]
}

// serve is a host at which the stream of first waits for that of second, wherever that is asked for.
func (m *meeting) serve(t *testing.T, name string, store Store, first, second string) Source {
	t.Helper()
	s := NewServer(ServerConfig{Store: store, Allow: allowHosts, MaxStreams: 100})
	return newFabric(t).serve(t, name, pki.RoleHost, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if object := r.URL.Query().Get("name"); r.URL.Path == pathStream {
			c := m.of(object)
			m.mu.Lock()
			if m.host[object] == nil {
				close(c)
			}
			m.host[object] = append(m.host[object], name)
			m.mu.Unlock()
			if object == first {
				select {
				case <-m.of(second):
				case <-time.After(time.Minute):
					t.Errorf("%s was not asked for while %s came", second, first)
				}
			}
		}
		s.ServeHTTP(w, r)
	}))
}

func TestLayersComeFromSeveralSourcesAtOnce(t *testing.T) {
	t.Parallel()
	for _, format := range []zfssync.Format{zfssync.FormatTar, zfssync.FormatZFS} {
		there, here := newMem(format), newMem(format)
		img := there.addImage(4, 400_000)
		m := newMeeting()
		sources := []Source{
			m.serve(t, "host-a", there, key(1), key(2)), // the lowest layer comes only when the next one does
			m.serve(t, "host-b", there, key(1), key(2)),
		}
		c := newClient(t, Config{Store: here, Work: t.TempDir(), Stall: time.Minute})
		got, err := c.FetchImage(t.Context(), img, sources)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.From, []string{"host-a", "host-b"}) || got.Streams != 4 || got.Bytes < 4*400_000 {
			t.Errorf("%s: it came as %+v", format, got)
		}
		if a, b := m.host[key(1)], m.host[key(2)]; slices.Equal(a, b) {
			t.Errorf("%s: both layers were asked of %v", format, a)
		}
		for i := 1; i <= 4; i++ {
			wantSame(t, there, here, layerObject(i), "g-"+key(i))
			if want := layerObject(i).String(); len(here.received) != 4 || here.received[i-1][:len(want)] != want {
				t.Fatalf("%s: received in the order %q", format, here.received)
			}
		}
	}
}

func TestWhatCannotBeFetchedAheadIsFetchedInItsTurn(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"too large", "grows too large", "cut"} {
		there, here := newMem(zfssync.FormatTar), newMem(zfssync.FormatTar)
		img := there.addImage(3, 1_000_000)
		a, _ := illHost(t, "host-a", there, func(int) fault { return fault{at: -1} })
		b, _ := illHost(t, "host-b", there, func(request int) fault {
			if what == "cut" && request < 4 {
				return fault{at: 300_000, what: "cut"}
			}
			return fault{at: -1}
		})
		c := newClient(t, Config{Store: here, Work: t.TempDir()})
		switch what {
		case "too large":
			c.ahead = 999_999
		case "grows too large":
			c.ahead = 1_000_001 // a line comes before the content: one more than was said fits for the first, not for two
		}
		got, err := c.FetchImage(t.Context(), img, []Source{a, b})
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if got.Streams < 3 || what == "too large" && !slices.Equal(got.From, []string{"host-a"}) {
			t.Errorf("%s: it came as %+v", what, got)
		}
		for i := 1; i <= 3; i++ {
			wantSame(t, there, here, layerObject(i), "g-"+key(i))
		}
	}
}

func TestImagesThatComeAtOnceComeFromDifferentSources(t *testing.T) {
	t.Parallel()
	f, there, here := newFabric(t), newMem(zfssync.FormatTar), newMem(zfssync.FormatTar)
	other := zfssync.Object{Kind: zfssync.KindVolume, Name: "w.db.log"}
	there.add(volume, "a", blob{data: noise(1, 900_000)})
	there.add(other, "a", blob{data: noise(2, 900_000)})
	m := newMeeting()
	sources := []Source{m.serve(t, "host-a", there, volume.Name, other.Name), m.serve(t, "host-b", there, volume.Name, other.Name)}
	unsure := f.host(t, "host-c", newMem(zfssync.FormatTar))
	unsure.Doubtful = true
	sources = append([]Source{unsure}, sources...)
	board := NewBoard()
	c := newClient(t, Config{Store: here, Board: board, Stall: time.Minute})
	var wg sync.WaitGroup
	fetch := func(o zfssync.Object) {
		wg.Go(func() {
			if _, err := c.EnsureObject(t.Context(), o, ObjectOptions{}, sources); err != nil {
				t.Error(err)
			}
		})
	}
	fetch(volume)
	select {
	case <-m.of(volume.Name):
	case <-time.After(time.Minute):
		t.Fatal("nobody was asked for the first one")
	}
	fetch(other)
	wg.Wait()
	if a, b := m.host[volume.Name], m.host[other.Name]; !slices.Equal(a, []string{"host-a"}) || !slices.Equal(b, []string{"host-b"}) {
		t.Errorf("one was asked of %v, the other of %v", a, b)
	}
	if left := board.Running(); len(left) != 0 {
		t.Errorf("the board still shows %+v", left)
	}
}

func TestARunningStreamIsSeenOnBothEnds(t *testing.T) {
	t.Parallel()
	there, here := newMem(zfssync.FormatTar), newMem(zfssync.FormatTar)
	there.add(volume, "a", blob{data: noise(1, 3_000_000)})
	sends, comes := NewBoard(), NewBoard()
	s := NewServer(ServerConfig{Store: there, Allow: allowHosts, Board: sends, BytesPerSecond: 1 << 20})
	src := newFabric(t).serve(t, "host-b", pki.RoleHost, s)
	c := newClient(t, Config{Store: here, Board: comes})
	done := make(chan error, 1)
	go func() {
		_, err := c.EnsureObject(t.Context(), volume, ObjectOptions{}, []Source{src})
		done <- err
	}()
	var in, out []Running
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		if in, out = comes.Running(), sends.Running(); len(in) == 1 && len(out) == 1 && in[0].Bytes > 0 && out[0].Bytes > 0 {
			break
		}
		if sleep(t.Context(), 2*time.Millisecond) != nil {
			break
		}
	}
	if len(in) != 1 || in[0].Object != volume || in[0].Source != "host-b" || in[0].Total != 3_000_000 || in[0].Rate <= 0 || in[0].Sending {
		t.Errorf("here: %+v", in)
	}
	if len(out) != 1 || out[0].Object != volume || out[0].Source == "" || !out[0].Sending {
		t.Errorf("there: %+v", out)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
