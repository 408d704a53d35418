package transfer

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rexcarcer/rexcarcer/internal/testenv"
	"github.com/rexcarcer/rexcarcer/pki"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

// receiver is a daemon that wants an image, as a process of its own that can be killed.
type receiver struct {
	Dir, Spool, Addr, Image string
	Dataset                 string // of a store on ZFS
	Chain, Key, CA          []byte
}

const receiverVar = "REXCARCER_TEST_RECEIVER"

// TestReceiver is that process, and nothing otherwise.
func TestReceiver(t *testing.T) {
	text := os.Getenv(receiverVar)
	if text == "" {
		return
	}
	var r receiver
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatal(err)
	}
	id, err := pki.NewIdentity(r.Chain, r.Key)
	if err != nil {
		t.Fatal(err)
	}
	roots, err := pki.NewPool(r.CA)
	if err != nil {
		t.Fatal(err)
	}
	tr := transportTo(id, roots, r.Addr)
	defer tr.CloseIdleConnections()
	c := newClient(t, Config{Store: r.open(t), Spool: r.Spool})
	if err := c.EnsureImage(t.Context(), r.Image, []Source{{Name: "there", HTTP: tr}}); err != nil {
		t.Fatal(err)
	}
}

func (r receiver) open(t testing.TB) zfssync.Store {
	t.Helper()
	if r.Dataset == "" {
		return openOverlay(t, r.Dir)
	}
	return openDataset(t, r.Dir, r.Dataset)
}

// start begins the process.
func (r receiver) start(t *testing.T) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	x := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestReceiver$")
	x.Env = append(os.Environ(), receiverVar+"="+string(text))
	x.Stdout, x.Stderr = os.Stderr, os.Stderr
	if err := x.Start(); err != nil {
		t.Fatal(err)
	}
	return x
}

// killer calls kill at the n-th write of a stream's body.
type killer struct {
	http.Handler
	writes atomic.Int64
	at     atomic.Int64
	mu     sync.Mutex
	kill   func() // guarded by mu
}

func (k *killer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == pathStream {
		w = &killWriter{w, k, r.Context()}
	}
	k.Handler.ServeHTTP(w, r)
}

type killWriter struct {
	http.ResponseWriter
	k   *killer
	ctx context.Context
}

func (w *killWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *killWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	_ = http.NewResponseController(w.ResponseWriter).Flush()
	_ = below(w.ctx).Flush()
	if w.k.writes.Add(1) == w.k.at.Load() {
		w.k.mu.Lock()
		defer w.k.mu.Unlock()
		w.k.kill()
	}
	return n, err
}

func TestAReceiverKilledAtAnyPointFinishesWhenItIsStartedAgain(t *testing.T) {
	t.Parallel()
	testenv.RequireRoot(t)
	dir := t.TempDir()
	there := openOverlay(t, dir+"/there")
	img := realImage(t, there, 600_000)
	f := newFabric(t)
	k := &killer{Handler: NewServer(ServerConfig{Store: there, Allow: allowHosts, MaxStreams: 100})}
	r := receiver{Addr: f.listen(t, "there", k), Image: img, CA: f.ca.CertPEM()}
	r.Chain, r.Key = f.issue(t, pki.RoleHost, "here")
	again := func() {
		t.Helper()
		if err := r.start(t).Wait(); err != nil {
			t.Fatalf("started again: %v", err)
		}
		check(t, there, r, img)
	}
	r.Dir = filepath.Join(dir, "here")
	again()
	points, killed := k.writes.Load(), 0
	for at := int64(1); at <= points; at++ {
		if r.Spool = ""; at%2 == 0 { // every other time with a spool
			r.Spool = filepath.Join(dir, "spool")
		}
		k.writes.Store(0)
		var x *exec.Cmd
		k.mu.Lock() // until x is there
		k.kill = func() { _ = x.Process.Kill() }
		k.at.Store(at)
		x = r.start(t)
		k.mu.Unlock()
		if x.Wait() != nil {
			killed++
		}
		k.at.Store(0)
		again()
	}
	if killed < int(points)/2 {
		t.Errorf("%d of %d were killed in time", killed, points)
	}
	t.Logf("%d points, %d killed before their end", points, killed)
}

// check looks at what the receiver has made, and removes it.
func check(t *testing.T, there zfssync.Store, r receiver, img string) {
	t.Helper()
	s, err := zfssync.OpenOverlay(zfssync.Config{Dir: r.Dir})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		closeStore(t, s)
		if err := os.RemoveAll(r.Dir); err != nil {
			t.Error(err)
		}
	}()
	if _, err := s.Sweep(t.Context(), zfssync.Keep{AllJails: true}); err != nil {
		t.Fatal(err)
	}
	wantWhole(t, there, s, img)
	if r.Spool == "" {
		return
	}
	if left, err := filepath.Glob(r.Spool + "/*"); err != nil || len(left) > 0 {
		t.Errorf("left in the spool: %v, %v", left, err)
	}
}
