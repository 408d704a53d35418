package bulk

import (
	"net"
	"sync"
)

// Size is how many bytes are collected before they go on, either way.
const Size = 256 << 10

// Conn is a connection that can collect. Its methods besides those of net.Conn do nothing on a nil *Conn.
type Conn struct {
	net.Conn

	buf  []byte // of reads ahead, nil without; owned by the one who reads
	rest []byte // of buf

	mu     sync.Mutex // guards what follows, and orders writes
	gather bool
	out    []byte
	err    error // of an earlier write
}

// Wrap makes a Conn of c, which passes everything on until told otherwise.
func Wrap(c net.Conn) *Conn { return &Conn{Conn: c} }

// Of returns the Conn below c, or nil when there is none.
func Of(c net.Conn) *Conn {
	for c != nil {
		if b, ok := c.(*Conn); ok {
			return b
		}
		below, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		c = below.NetConn()
	}
	return nil
}

// ReadAhead makes reads take up to Size bytes from the connection. Call it before the first Read.
func (c *Conn) ReadAhead() {
	if c != nil && c.buf == nil {
		c.buf = make([]byte, Size)
	}
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		if len(p) >= len(c.buf) {
			return c.Conn.Read(p)
		}
		n, err := c.Conn.Read(c.buf)
		if n == 0 {
			return 0, err
		}
		c.rest = c.buf[:n] // an error beside it comes again
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// Gather keeps what is written from now on until it is Size bytes, or Flush is called.
func (c *Conn) Gather() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gather = true
}

// Flush writes what was kept. A deadline for writes counts here.
func (c *Conn) Flush() error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.flush()
}

// Pass ends what Gather began: it flushes, and later writes go through at once.
func (c *Conn) Pass() error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gather = false
	err := c.flush()
	c.out = nil // a connection that only rests needs no memory
	return err
}

// flush is Flush; the caller holds mu.
func (c *Conn) flush() error {
	if c.err == nil && len(c.out) > 0 {
		_, c.err = c.Conn.Write(c.out)
	}
	c.out = c.out[:0]
	return c.err
}

// Write implements net.Conn. Kept bytes count as written; their error comes with a later call.
func (c *Conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, c.err
	}
	if !c.gather {
		return c.Conn.Write(p)
	}
	if c.out == nil {
		c.out = make([]byte, 0, Size+Size/8)
	}
	if len(c.out)+len(p) > cap(c.out) {
		if err := c.flush(); err != nil {
			return 0, err
		}
		if len(p) >= cap(c.out) {
			n, err := c.Conn.Write(p)
			c.err = err
			return n, err
		}
	}
	c.out = append(c.out, p...)
	return len(p), nil
}
