package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"testing"
)

// The cluster port closes its listeners when the daemon ends, at the same
// moment as those who serve on them are told to: that is no error.
func TestServingEndsWellWhenItsListenerIsClosedFirst(t *testing.T) {
	t.Parallel()
	for range 200 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- serveHTTP(ctx, &http.Server{}, l) }() //nolint:gosec // nobody asks it
		cancel()
		_ = l.Close() // or the server has done so
		if err := <-ended; err != nil {
			t.Fatalf("serving ended with %v", err)
		}
	}
}

func TestAListenerThatFailsIsAnError(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := serveHTTP(t.Context(), &http.Server{}, l); !errors.Is(err, net.ErrClosed) { //nolint:gosec // nobody asks it
		t.Errorf("got %v", err)
	}
}
