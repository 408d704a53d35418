package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rexcarcer/rexcarcer/test/overlay"
)

// dial connects from inside the client's namespace; call it there.
func dial(s side) (*net.TCPConn, error) {
	c, err := net.DialTimeout("tcp4", s.addr.String(), 20*time.Second)
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil //nolint:forcetypeassert // tcp4
}

func listen(s side) (l net.Listener, err error) {
	err = overlay.In(s.server, func() (err error) {
		l, err = net.Listen("tcp4", s.listen.String())
		return err
	})
	return l, err
}

// throughput is that of one stream, in Mbit/s.
func throughput(s side, length time.Duration) (float64, error) {
	l, err := listen(s)
	if err != nil {
		return 0, err
	}
	defer l.Close()
	type result struct {
		n   int64
		d   time.Duration
		err error
	}
	got := make(chan result, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			got <- result{err: err}
			return
		}
		defer c.Close()
		begun := time.Now()
		n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{c}, make([]byte, 1<<20))
		got <- result{n, time.Since(begun), err}
	}()
	var c *net.TCPConn
	if err := overlay.In(s.client, func() (err error) { c, err = dial(s); return err }); err != nil {
		return 0, err
	}
	buf := make([]byte, 1<<20)
	for end := time.Now().Add(length); time.Now().Before(end); {
		if _, err := c.Write(buf); err != nil {
			return 0, errors.Join(err, c.Close())
		}
	}
	if err := c.Close(); err != nil {
		return 0, err
	}
	r := <-got
	return float64(r.n) * 8 / 1e6 / r.d.Seconds(), r.err
}

// connections is how many a second are opened, answered with a byte, and reset, by workers side by side, and the time of
// processors that each takes, in microseconds: both ends and what the kernel does for them.
func connections(s side, length time.Duration, workers int) (rate, cost float64, err error) {
	l, err := listen(s)
	if err != nil {
		return 0, 0, err
	}
	defer l.Close()
	for range workers {
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = c.Write([]byte{1})
				_, _ = c.Read(make([]byte, 1))
				_ = c.Close()
			}
		}()
	}
	var count atomic.Int64
	errs := make([]error, workers)
	var wg sync.WaitGroup
	begun, used := time.Now(), cpu()
	for i := range workers {
		wg.Go(func() {
			errs[i] = overlay.In(s.client, func() error {
				b := make([]byte, 1)
				for time.Since(begun) < length {
					c, err := dial(s)
					if err != nil {
						return err
					}
					_ = c.SetDeadline(time.Now().Add(10 * time.Second))
					if _, err := c.Read(b); err != nil {
						return fmt.Errorf("no answer: %w", err)
					}
					_ = c.SetLinger(0) // a reset leaves no TIME_WAIT
					_ = c.Close()
					count.Add(1)
				}
				return nil
			})
		})
	}
	wg.Wait()
	n := max(float64(count.Load()), 1)
	return n / time.Since(begun).Seconds(), float64((cpu() - used).Microseconds()) / n, errors.Join(errs...)
}

// cpu is what this process has used so far.
func cpu() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
