package transfer

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/bulk"
	"github.com/rexcarcer/rexcarcer/pki"
)

// fabric is a cluster's CA and the certificates of its members.
type fabric struct {
	ca *pki.CA
}

var theFabric = sync.OnceValues(func() (*fabric, error) {
	key, err := pki.NewKey()
	if err != nil {
		return nil, err
	}
	ca, err := pki.NewCA("demo", key, time.Now(), rand.Reader)
	return &fabric{ca}, err
})

func newFabric(t testing.TB) *fabric {
	t.Helper()
	f, err := theFabric()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fabric) identity(t testing.TB, role pki.Role, name string) *pki.Identity {
	t.Helper()
	chain, key := f.issue(t, role, name)
	out, err := pki.NewIdentity(chain, key)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (f *fabric) issue(t testing.TB, role pki.Role, name string) (chain, keyPEM []byte) {
	t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := pki.NewCSR(key, name)
	if err != nil {
		t.Fatal(err)
	}
	id := pki.ID{Cluster: "demo", Role: role, Name: name}
	chain, err = pki.Issue(f.ca, csr, pki.Profile{ID: id, Lifetime: time.Hour, Server: true, Client: true}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if keyPEM, err = pki.EncodeKey(key); err != nil {
		t.Fatal(err)
	}
	return chain, keyPEM
}

// allowHosts is what the daemon's hook looks like.
func allowHosts(state *tls.ConnectionState) error {
	id, err := pki.PeerID(*state)
	if err != nil {
		return err
	}
	if id.Role != pki.RoleHost && id.Role != pki.RoleServer {
		return fmt.Errorf("%s is no host", id)
	}
	return nil
}

func anybody(pki.ID) error { return nil }

// serve runs h on loopback over mutual TLS 1.3 and returns a source that leads to it with a certificate of role.
func (f *fabric) serve(t testing.TB, name string, role pki.Role, h http.Handler) Source {
	t.Helper()
	addr := f.listen(t, name, h)
	tr := transportTo(f.identity(t, role, "client"), f.ca.Pool(), addr)
	t.Cleanup(tr.CloseIdleConnections)
	return Source{Name: name, HTTP: tr}
}

// listen runs h until the test ends.
func (f *fabric) listen(t testing.TB, name string, h http.Handler) (addr string) {
	t.Helper()
	return listen(t, f.identity(t, pki.RoleHost, name), f.ca.Pool(), h)
}

func listen(t testing.TB, id *pki.Identity, roots *x509.CertPool, h http.Handler) (addr string) {
	t.Helper()
	conf := pki.ServerTLS(id, roots, true, anybody, time.Now)
	conf.NextProtos = []string{ALPN}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, tls.NewListener(wide{l}, conf), h) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func transportTo(id *pki.Identity, roots *x509.CertPool, addr string) *http.Transport {
	conf := pki.ClientTLS(id, roots, anybody, time.Now)
	conf.NextProtos = []string{ALPN}
	return NewTransport(func(ctx context.Context, _ string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		b := bulk.Wrap(c)
		b.ReadAhead()
		t := tls.Client(b, conf)
		if err := t.HandshakeContext(ctx); err != nil {
			return nil, errors.Join(err, c.Close())
		}
		return t, nil
	})
}

// wide makes connections as package cluster/transport does.
type wide struct{ net.Listener }

func (w wide) Accept() (net.Conn, error) {
	c, err := w.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return bulk.Wrap(c), nil
}

// host is a store that is served.
func (f *fabric) host(t testing.TB, name string, store Store) Source {
	t.Helper()
	return f.serve(t, name, pki.RoleHost, NewServer(ServerConfig{Store: store, Allow: allowHosts, MaxStreams: 100}))
}

// ill makes a handler misbehave in the bodies of streams.
type ill struct {
	http.Handler
	mu    sync.Mutex
	plan  func(request int) fault // of the n-th stream request, from 0
	n     int                     // guarded by mu
	bytes int64                   // guarded by mu; of bodies that went out
}

func (i *ill) sent() int64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.bytes
}

func (i *ill) requests() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.n
}

// fault happens when at bytes of the body have gone: flip one, stall, drip, or cut. at < 0 is none.
type fault struct {
	at   int64
	what string
}

func (i *ill) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != pathStream && r.URL.Path != pathChunks {
		i.Handler.ServeHTTP(w, r)
		return
	}
	i.mu.Lock()
	f := i.plan(i.n)
	i.n++
	i.mu.Unlock()
	i.Handler.ServeHTTP(&illWriter{ResponseWriter: w, i: i, f: f, ctx: r.Context()}, r)
}

type illWriter struct {
	http.ResponseWriter
	i   *ill
	f   fault
	n   int64
	ctx context.Context
}

func (w *illWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *illWriter) Write(p []byte) (int, error) {
	at := w.f.at - w.n
	if w.f.at < 0 || at >= int64(len(p)) || at < 0 && w.f.what != "drip" {
		return w.pass(p)
	}
	switch w.f.what {
	case "flip":
		p = append([]byte(nil), p...)
		p[at] ^= 0x10
		return w.pass(p)
	case "cut":
		_, _ = w.pass(p[:at])
		w.flush()
		panic(http.ErrAbortHandler)
	case "stall":
		_, _ = w.pass(p[:at])
		w.flush()
		<-w.ctx.Done()
		return 0, errors.New("stalled")
	case "drip":
		for i := range p {
			if _, err := w.pass(p[i : i+1]); err != nil {
				return 0, err
			}
			w.flush()
			if sleep(w.ctx, 2*time.Millisecond) != nil {
				return 0, w.ctx.Err()
			}
		}
		return len(p), nil
	}
	return w.pass(p)
}

// flush lets the peer see all that was written.
func (w *illWriter) flush() {
	_ = http.NewResponseController(w.ResponseWriter).Flush()
	_ = below(w.ctx).Flush()
}

func (w *illWriter) pass(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.n += int64(n)
	w.i.mu.Lock()
	w.i.bytes += int64(n)
	w.i.mu.Unlock()
	return n, err
}

func newClient(t testing.TB, c Config) *Client {
	t.Helper()
	k, err := NewClient(c)
	if err != nil {
		t.Fatal(err)
	}
	return k
}
