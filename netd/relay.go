package netd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// relays hold the published ports of a host whose rules do not reach its own connections: rdr of pf(4) acts on packets that
// come in, and on none where pf is off. Each TCP port is passed on to the members in turn, each UDP port is only taken, so
// that no other program gets it. The zero value is ready; one goroutine at a time.
type relays struct {
	open map[string]*relay
	bind func(Publish) (io.Closer, error) // nil: bindPort; tests put their own here
}

const (
	relayDial  = 5 * time.Second
	relayConns = 1024 // at a time and port; more wait in the backlog
)

// relay is one published port.
type relay struct {
	closer  io.Closer
	refuse  func(client, local netip.Addr) bool
	members atomic.Pointer[[]netip.AddrPort]
	next    atomic.Uint64
	slots   chan struct{}

	ctx    context.Context //nolint:containedctx // ends the connections of this relay
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// try says whether a port can be had.
func (r *relays) try(p Publish) error {
	if r.open[portKeyOf(p)] != nil {
		return nil
	}
	c, err := r.take(p)
	if err != nil {
		return err
	}
	return c.Close()
}

// ensure takes the port of p and passes it on to its members. refuse says which clients are turned away.
func (r *relays) ensure(p Publish, refuse func(client, local netip.Addr) bool) error {
	x := r.open[portKeyOf(p)]
	if x == nil {
		c, err := r.take(p)
		if err != nil {
			return err
		}
		x = &relay{closer: c, refuse: refuse, slots: make(chan struct{}, relayConns)}
		x.ctx, x.cancel = context.WithCancel(context.Background())
		if r.open == nil {
			r.open = map[string]*relay{}
		}
		r.open[portKeyOf(p)] = x
		if l, ok := c.(net.Listener); ok {
			defer x.done.Go(func() { x.accept(l) }) // once it has its members
		}
	}
	members := p.Members
	x.members.Store(&members)
	return nil
}

// keep gives back the ports that are not wanted.
func (r *relays) keep(wanted map[string]bool) error {
	var errs []error
	for key, x := range r.open {
		if !wanted[key] {
			errs = append(errs, x.close())
			delete(r.open, key)
		}
	}
	return errors.Join(errs...)
}

// close gives all ports back and cuts their connections.
func (r *relays) close() error { return r.keep(nil) }

func portKeyOf(p Publish) string { return fmt.Sprintf("%d/%s", p.HostPort, p.proto()) }

func (r *relays) take(p Publish) (io.Closer, error) {
	if r.bind != nil {
		return r.bind(p)
	}
	return bindPort(p)
}

func bindPort(p Publish) (io.Closer, error) {
	if p.proto() == "tcp" {
		return net.ListenTCP("tcp4", &net.TCPAddr{Port: int(p.HostPort)})
	}
	// A connected socket receives from its peer only: datagrams of others are refused, not swallowed.
	return net.DialUDP("udp4", &net.UDPAddr{Port: int(p.HostPort)}, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9})
}

func (x *relay) close() error {
	x.cancel()
	err := x.closer.Close()
	x.done.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (x *relay) accept(l net.Listener) {
	pause := 5 * time.Millisecond
	for {
		select {
		case x.slots <- struct{}{}:
		case <-x.ctx.Done():
			return
		}
		c, err := l.Accept()
		if err == nil {
			pause = 5 * time.Millisecond
			x.done.Go(func() {
				defer func() { <-x.slots }()
				x.serve(c)
			})
			continue
		}
		<-x.slots
		select { // out of descriptors: it passes
		case <-time.After(pause):
			pause = min(2*pause, time.Second)
		case <-x.ctx.Done():
			return
		}
	}
}

// serve passes one connection on. Without a member, or for a client that is refused, it is reset, as by a host on whose port
// nobody listens.
func (x *relay) serve(c net.Conn) {
	defer c.Close()
	to := net.Conn(nil)
	if !x.refuse(addrOf(c.RemoteAddr()), addrOf(c.LocalAddr())) {
		to = x.dial()
	}
	if to == nil {
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.SetLinger(0)
		}
		return
	}
	defer to.Close()
	stop := context.AfterFunc(x.ctx, func() {
		_ = c.Close()
		_ = to.Close()
	})
	defer stop()
	var back sync.WaitGroup
	back.Go(func() { pass(c, to) })
	pass(to, c)
	back.Wait()
}

// pass copies until from ends, and tells to so; either side's error ends both.
func pass(to, from net.Conn) {
	_, err := io.Copy(to, from)
	if w, ok := to.(interface{ CloseWrite() error }); ok && err == nil {
		_ = w.CloseWrite()
		return
	}
	_ = to.Close()
	_ = from.Close()
}

// dial connects to the next member that answers, or returns nil.
func (x *relay) dial() net.Conn {
	members := *x.members.Load()
	d := net.Dialer{Timeout: relayDial}
	for range members {
		m := members[(x.next.Add(1)-1)%uint64(len(members))]
		if c, err := d.DialContext(x.ctx, "tcp4", m.String()); err == nil {
			return c
		}
	}
	return nil
}

func addrOf(a net.Addr) netip.Addr {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}
