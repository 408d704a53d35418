package syslogd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"time"
)

// Target is another syslog server.
type Target struct {
	Network string // udp, tcp or tls
	Addr    string // HOST:PORT
}

// ParseTarget reads udp://HOST[:PORT], tcp://HOST[:PORT] or tls://HOST[:PORT].
func ParseTarget(text string) (Target, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.User != nil || (u.Scheme != "udp" && u.Scheme != "tcp" && u.Scheme != "tls") {
		return Target{}, fmt.Errorf("%q: want udp://HOST[:PORT], tcp://HOST[:PORT] or tls://HOST[:PORT]", text)
	}
	port := u.Port()
	switch {
	case port == "" && u.Scheme == "tls":
		port = strconv.Itoa(TLSPort)
	case port == "":
		port = strconv.Itoa(Port)
	}
	return Target{u.Scheme, net.JoinHostPort(u.Hostname(), port)}, nil
}

func (t Target) String() string { return t.Network + "://" + t.Addr }

// maxQueued is how many messages wait for a server that does not take them.
const maxQueued = 10_000

// Times of a connection to another server.
const (
	sendTime  = 10 * time.Second
	sendFirst = 100 * time.Millisecond
	sendMax   = 30 * time.Second
)

// Forwarder sends messages on, by RFC 5424 over UDP (RFC 5426), TCP (RFC 6587
// with counts) or TLS (RFC 5425). Make it with NewForwarder.
type Forwarder struct {
	to    Target
	queue chan []byte
	log   *slog.Logger
	m     *Metrics
	tls   *tls.Config // nil: the system's roots
}

// NewForwarder makes one; m may be nil.
func NewForwarder(to Target, m *Metrics, logger *slog.Logger) *Forwarder {
	return &Forwarder{to: to, queue: make(chan []byte, maxQueued), log: logger, m: m}
}

// Send queues a message, which it keeps. It never waits: while the server takes
// nothing for long, the newest messages are let go and counted.
func (f *Forwarder) Send(message []byte) {
	select {
	case f.queue <- message:
	default:
		f.m.forwarded("lost")
	}
}

// Run sends until ctx ends.
func (f *Forwarder) Run(ctx context.Context) error {
	wait := sendFirst
	var held []byte // not sent yet
	for {
		sent, err := f.once(ctx, &held)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the end was wanted, whatever it interrupted
		}
		if sent {
			wait = sendFirst
		}
		if wait == sendFirst {
			f.log.Warn("cannot send messages of jails on, they wait", "to", f.to.String(), "err", err)
		}
		if !pause(ctx, wait) {
			return nil
		}
		wait = min(2*wait, sendMax)
	}
}

// once sends over one connection until it breaks.
func (f *Forwarder) once(ctx context.Context, held *[]byte) (sent bool, err error) {
	c, err := f.dial(ctx)
	if err != nil {
		return false, err
	}
	defer c.Close() // what did not go is held
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	gone := make(chan struct{})
	if f.to.Network != "udp" {
		go func() { // a server says nothing: a read ends when it has gone
			defer close(gone)
			_, _ = c.Read(make([]byte, 1))
		}()
		defer func() { _ = c.Close(); <-gone }()
	}
	for {
		if *held == nil {
			select {
			case *held = <-f.queue:
			case <-gone:
				return sent, net.ErrClosed
			case <-ctx.Done():
				return sent, ctx.Err()
			}
		}
		if err := f.write(c, *held); err != nil {
			return sent, err
		}
		f.m.forwarded("sent")
		*held, sent = nil, true
	}
}

func (f *Forwarder) dial(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{Timeout: sendTime, KeepAlive: keepAliveEvery}
	if f.to.Network == "tls" {
		conf := f.tls
		if conf == nil {
			conf = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		return (&tls.Dialer{NetDialer: &d, Config: conf}).DialContext(ctx, "tcp", f.to.Addr)
	}
	return d.DialContext(ctx, f.to.Network, f.to.Addr)
}

func (f *Forwarder) write(c net.Conn, message []byte) error {
	if err := c.SetWriteDeadline(time.Now().Add(sendTime)); err != nil {
		return err
	}
	if f.to.Network != "udp" {
		message = append(fmt.Appendf(nil, "%d ", len(message)), message...)
	}
	_, err := c.Write(message)
	if f.to.Network == "udp" && err != nil && !errors.Is(err, net.ErrClosed) {
		return nil // nobody may listen there now: UDP promises nothing
	}
	return err
}
