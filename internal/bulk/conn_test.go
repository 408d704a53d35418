package bulk_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/bulk"
)

// counting counts calls of the connection below.
type counting struct {
	net.Conn
	writes, reads int
}

func (c *counting) Write(p []byte) (int, error) { c.writes++; return c.Conn.Write(p) }

func (c *counting) Read(p []byte) (int, error) { c.reads++; return c.Conn.Read(p) }

func pair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	return a, b
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

func TestWhatIsGatheredArrivesInOrderByFewWrites(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	below := &counting{Conn: a}
	c := bulk.Wrap(below)
	want := random(5 << 20)
	go func() {
		c.Gather()
		for rest := want; len(rest) > 0; {
			n := min(len(rest), 1+rand.IntN(20<<10))
			if _, err := c.Write(rest[:n]); err != nil {
				t.Error(err)
			}
			rest = rest[n:]
		}
		if err := c.Pass(); err != nil {
			t.Error(err)
		}
		_, _ = c.Write([]byte("!"))
		_ = c.Close()
	}()
	got, err := io.ReadAll(b)
	if err != nil || !bytes.Equal(got, append(want, '!')) {
		t.Fatalf("%d bytes came of %d: %v", len(got), len(want)+1, err)
	}
	if most := 2 + len(want)/bulk.Size; below.writes > most {
		t.Errorf("%d writes, want at most %d", below.writes, most)
	}
}

func TestReadAheadTakesMoreThanWasAskedFor(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	below := &counting{Conn: b}
	c := bulk.Wrap(below)
	c.ReadAhead()
	want := random(3 << 20)
	go func() {
		_, _ = a.Write(want)
		_ = a.Close()
	}()
	got, small := []byte(nil), make([]byte, 100)
	for {
		n, err := c.Read(small)
		got = append(got, small[:n]...)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got, want) {
		t.Fatal("other bytes came")
	}
	if below.reads > len(want)/len(small)/10 {
		t.Errorf("%d reads for %d bytes", below.reads, len(want))
	}
}

func TestNothingIsKeptUnlessAskedFor(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	c := bulk.Wrap(a)
	for _, text := range []string{"one", "two"} {
		if _, err := c.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 3)
		if _, err := io.ReadFull(b, got); err != nil || string(got) != text {
			t.Fatalf("%q, %v", got, err)
		}
	}
}

func TestAFailedWriteFailsForEver(t *testing.T) {
	t.Parallel()
	a, _ := pair(t)
	c := bulk.Wrap(a)
	c.Gather()
	if err := c.SetWriteDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("kept")); err != nil {
		t.Fatalf("kept bytes: %v", err)
	}
	if err := c.Flush(); err == nil {
		t.Fatal("flushed after the deadline")
	}
	if err := c.SetWriteDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("more")); err == nil {
		t.Error("a gap in the stream")
	}
	if err := c.Pass(); err == nil {
		t.Error("a gap in the stream")
	}
}

func TestOfFindsItBelowOtherConnections(t *testing.T) {
	t.Parallel()
	a, _ := pair(t)
	c := bulk.Wrap(a)
	if bulk.Of(over{c}) != c || bulk.Of(a) != nil || bulk.Of(nil) != nil {
		t.Error("not found, or found where none is")
	}
	var none *bulk.Conn
	none.Gather()
	none.ReadAhead()
	if err := errors.Join(none.Flush(), none.Pass()); err != nil {
		t.Error(err)
	}
}

type over struct{ net.Conn }

func (o over) NetConn() net.Conn { return o.Conn }
