package transfer

import (
	"io"
	"net"
	"sync"
	"testing"
)

// wire carries bytes between a receiver and the sender of the day, and strikes when so many have come from the sender.
type wire struct {
	net.Listener
	mu     sync.Mutex
	to     string            // guarded by mu, as what follows
	strike func() (hit bool) // until it hits
	at     int64
	bytes  int64
}

func newWire(t *testing.T) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{Listener: l}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { w.carry(c) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
	return w
}

func (w *wire) carry(c net.Conn) {
	defer c.Close()
	w.mu.Lock()
	to := w.to
	w.mu.Unlock()
	d, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer d.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(d, c)
		_ = d.Close()
	}()
	_, _ = io.Copy(&counted{c, w}, d)
	_ = c.Close()
	<-done
}

type counted struct {
	io.Writer
	w *wire
}

func (c *counted) Write(p []byte) (int, error) {
	c.w.mu.Lock()
	c.w.bytes += int64(len(p))
	strike := c.w.strike
	ripe := c.w.bytes >= c.w.at
	c.w.mu.Unlock()
	if strike != nil && ripe && strike() {
		c.w.mu.Lock()
		c.w.strike = nil
		c.w.mu.Unlock()
	}
	return c.Writer.Write(p)
}

// set makes the wire lead to a sender, and strike after at bytes.
func (w *wire) set(to string, at int64, strike func() bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.to, w.at, w.strike, w.bytes = to, at, strike, 0
}
