package transfer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/bulk"
)

// Serve answers h on the connections of l, which are *tls.Conn that negotiated ALPN, until ctx ends; then it cuts those
// that are left and returns when all have ended. A peer goes on elsewhere, or here after the restart.
func Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	u := &unveiled{Handler: h}
	srv := &http.Server{
		Handler:           u,
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
	}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() }) // its listener's error is that it was closed
	defer stop()
	defer u.running.Wait()
	err := srv.Serve(veiled{l})
	if ctx.Err() != nil {
		return nil // whoever closed the listener first
	}
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve peers: %w", err)
	}
	return nil
}

// net/http closes a *tls.Conn whose protocol it does not know (conn.serve), and it knows its own only. So it gets to see
// a connection of another type, and the state of TLS is put into the request by ourselves. net/http has no other way
// from a connection to its requests than their context.

type connKey struct{}

type veiled struct{ net.Listener }

func (v veiled) Accept() (net.Conn, error) {
	c, err := v.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return veil{c}, nil
}

type veil struct{ net.Conn }

// below returns what lies below the TLS of a request, if it can collect writes, else nil.
func below(ctx context.Context) *bulk.Conn {
	v, ok := ctx.Value(connKey{}).(veil)
	if !ok {
		return nil
	}
	return bulk.Of(v.Conn)
}

type unveiled struct {
	http.Handler
	running sync.WaitGroup
}

func (u *unveiled) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.running.Add(1)
	defer u.running.Done()
	if v, ok := r.Context().Value(connKey{}).(veil); ok && r.TLS == nil {
		if t, ok := v.Conn.(interface{ ConnectionState() tls.ConnectionState }); ok {
			if state := t.ConnectionState(); state.HandshakeComplete {
				r.TLS = &state
			}
		}
	}
	u.Handler.ServeHTTP(w, r)
}
