package syslogd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Passage carries syslog over TLS (RFC 5425) from jails to the daemon, which
// opens it: a router has no key that would be worth stealing. Make it with
// ListenTLS.
type Passage struct {
	tcp  []net.Listener
	path string
	log  *slog.Logger
	gate gate
}

// ListenTLS opens TCP on each address; what comes is carried to the daemon's
// socket at path.
func ListenTLS(ctx context.Context, addrs []netip.AddrPort, path string, logger *slog.Logger) (*Passage, error) {
	p := &Passage{path: path, log: logger}
	conf := net.ListenConfig{KeepAlive: keepAliveEvery}
	for _, a := range addrs {
		l, err := conf.Listen(ctx, "tcp", a.String())
		if err != nil {
			return nil, errors.Join(fmt.Errorf("syslog over TLS on %s: %w", a, err), p.close())
		}
		p.tcp = append(p.tcp, l)
	}
	return p, nil
}

func (p *Passage) close() error {
	var errs []error
	for _, l := range p.tcp {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// Run carries until ctx ends.
func (p *Passage) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	stop := context.AfterFunc(ctx, func() { _ = p.close() })
	defer stop()
	for _, l := range p.tcp {
		g.Go(func() error { return ended(ctx, p.gate.accept(ctx, l, p.log, p.carry)) })
	}
	return g.Wait()
}

// carry says to the daemon who is there, and then whatever comes.
func (p *Passage) carry(ctx context.Context, from netip.Addr, c net.Conn) {
	var d net.Dialer
	there, err := d.DialContext(ctx, "unix", p.path)
	if err != nil {
		return // the jail tries again
	}
	defer there.Close() // what was to be said has been
	stop := context.AfterFunc(ctx, func() { _ = there.Close() })
	defer stop()
	if _, err := fmt.Fprintf(there, "%s\n", from); err != nil {
		return
	}
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(c, there)
		_ = c.Close() // the daemon has ended it
	})
	_, _ = io.Copy(there, c)
	if half, ok := there.(*net.UnixConn); ok {
		_ = half.CloseWrite() // the daemon reads to the end, and closes
	}
	back.Wait()
}

// handshakeTime is how long a jail may take to say who it is.
const handshakeTime = 10 * time.Second

// CollectTLS opens what a Passage carries to l, by conf, until ctx ends, and
// closes l. who says whether the certificate is that of who has the address; take
// gets each message, its bytes only during the call; lost how many were too many.
func CollectTLS(ctx context.Context, l net.Listener, conf *tls.Config, who func(from netip.Addr, cert *x509.Certificate) error,
	take func(from netip.Addr, raw []byte), lost func(n int), logger *slog.Logger) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	defer l.Close() // at the latest
	var (
		all gate // connections come from one router, which counts those of a jail
		s   = Server{take: take, lost: lost, log: logger}
	)
	all.one = maxConns
	return ended(ctx, all.accept(ctx, l, logger, func(ctx context.Context, _ netip.Addr, c net.Conn) {
		from, t, err := open(ctx, c, conf, who)
		if err != nil {
			if ctx.Err() == nil {
				logger.Debug("syslog over TLS", "from", from.String(), "err", err)
			}
			return
		}
		s.stream(ctx, from, t)
	}))
}

// open reads who is there, and shakes hands with that one.
func open(ctx context.Context, c net.Conn, conf *tls.Config, who func(netip.Addr, *x509.Certificate) error) (from netip.Addr, t *tls.Conn, err error) {
	if err := c.SetDeadline(time.Now().Add(handshakeTime)); err != nil {
		return from, nil, err
	}
	var line [64]byte
	for n := 0; ; n++ { // not a byte more: the rest is TLS's
		if n == len(line) {
			return from, nil, errors.New("no address in front")
		}
		if _, err := io.ReadFull(c, line[n:n+1]); err != nil {
			return from, nil, err
		}
		if line[n] == '\n' {
			if from, err = netip.ParseAddr(string(line[:n])); err != nil {
				return from, nil, err
			}
			break
		}
	}
	t = tls.Server(c, conf)
	if err := t.HandshakeContext(ctx); err != nil {
		return from, nil, err
	}
	if certs := t.ConnectionState().PeerCertificates; len(certs) == 0 {
		return from, nil, errors.New("no certificate")
	} else if err := who(from, certs[0]); err != nil {
		return from, nil, err
	}
	return from, t, c.SetDeadline(time.Time{})
}
