package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/hostagent"
	"github.com/rexcarcer/rexcarcer/pki"
	"github.com/rexcarcer/rexcarcer/syslogd"
)

// takeSyslog takes what the jails of a router's network log, on the addresses
// where it serves names, and hands it to the daemon at path. A router that
// cannot still serves names.
func takeSyslog(ctx context.Context, g *errgroup.Group, path string, listen []netip.AddrPort, logger *slog.Logger) {
	if path == "" {
		return
	}
	var addrs []netip.AddrPort
	for _, a := range listen {
		addrs = append(addrs, netip.AddrPortFrom(a.Addr(), syslogd.Port))
	}
	relay := syslogd.NewRelay(path, logger)
	s, err := syslogd.Listen(ctx, addrs, relay.Take, relay.Lost, logger)
	if err != nil {
		logger.Error("jails of this network cannot log by syslog", "err", err)
		return
	}
	g.Go(func() error { return s.Run(ctx) })
	g.Go(func() error { return relay.Run(ctx) })
	for i, a := range addrs {
		addrs[i] = netip.AddrPortFrom(a.Addr(), syslogd.TLSPort)
	}
	p, err := syslogd.ListenTLS(ctx, addrs, path+tlsSocket, logger)
	if err != nil {
		logger.Error("jails of this network cannot log by syslog over TLS", "err", err)
		return
	}
	g.Go(func() error { return p.Run(ctx) })
}

// tlsSocket ends the name of the socket to which a router carries TLS.
const tlsSocket = "-tls"

// syslogging is what the daemon does with messages of jails.
type syslogging struct {
	d       *daemon
	metrics *syslogd.Metrics
	forward *syslogd.Forwarder // nil: nowhere
}

// serveSyslog takes the messages of all networks' routers on this host.
func (d *daemon) serveSyslog(ctx context.Context) error {
	if d.o.Runtime == "sim" {
		return nil // nobody would log
	}
	s := &syslogging{d: d, metrics: syslogd.NewMetrics(d.reg)}
	g, ctx := errgroup.WithContext(ctx)
	if to := d.o.Site.SyslogForward; to != (syslogd.Target{}) {
		s.forward = syslogd.NewForwarder(to, s.metrics, d.log)
		g.Go(func() error { return s.forward.Run(ctx) })
	}
	g.Go(func() error { return d.eachNetwork(ctx, s.serve) })
	return g.Wait()
}

func (s *syslogging) serve(ctx context.Context, network string) {
	path := hostagent.SyslogSocketPath(s.d.o.RunDir, network)
	take := func(from netip.Addr, raw []byte) { s.take(network, from, raw) }
	lost := func(n int) { s.metrics.Taken("lost", n) }
	g, inner := errgroup.WithContext(ctx)
	g.Go(func() error {
		l, err := listenSocket(path)
		if err != nil {
			return err
		}
		return syslogd.Collect(inner, l, take, lost, s.d.log)
	})
	g.Go(func() error {
		l, err := listenSocket(path + tlsSocket)
		if err != nil {
			return err
		}
		who := func(from netip.Addr, cert *x509.Certificate) error { return s.isJail(network, from, cert) }
		return syslogd.CollectTLS(inner, l, s.tls(), who, take, lost, s.d.log)
	})
	if err := g.Wait(); err != nil && ctx.Err() == nil {
		s.d.log.Error("messages of a network's jails are not taken", "network", network, "err", err)
	}
}

// listenSocket makes a socket for root alone, in place of one that a killed
// daemon left.
func listenSocket(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o711); err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	// On the way out the path may be a successor's already.
	l.SetUnlinkOnClose(false)
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// tls is how this host shows itself to jails: by its own certificate. Theirs
// must be of this cluster, and not revoked.
func (s *syslogging) tls() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return pki.AlsoCheck(pki.ServerTLS(s.d.m.identity, s.d.m.ring.Roots(), true, pki.AllowRoles(s.d.m.cluster, pki.RoleJail), time.Now), s.d.revoked), nil
	}}
}

// isJail says why a certificate is not that of the jail at an address.
func (s *syslogging) isJail(network string, from netip.Addr, cert *x509.Certificate) error {
	id, err := pki.CertID(cert)
	if err != nil {
		return err
	}
	if j := jailAt(s.d.node.State(), network, from); j == nil || j.Spec.Name != id.Name {
		return fmt.Errorf("%s is not who has the address %s", id, from)
	}
	return nil
}

// take puts one message into the log of the jail that has the address.
func (s *syslogging) take(network string, from netip.Addr, raw []byte) {
	j := jailAt(s.d.node.State(), network, from)
	if j == nil {
		s.metrics.Taken("stranger", 1)
		return
	}
	m, now := syslogd.Parse(raw), time.Now()
	if err := s.d.agent.LogLine(j.UUID, m.Line(now)); err != nil {
		s.metrics.Taken("lost", 1)
		if !errors.Is(err, hostagent.ErrElsewhere) {
			s.d.log.Warn("a message of a jail is lost", "jail", j.Spec.Name, "err", err)
		}
		return
	}
	s.metrics.Taken("kept", 1)
	if s.forward != nil {
		s.forward.Send(m.Format(logName(j), now))
	}
}

// jailAt is the jail that has an address of a network, nil for none.
func jailAt(s *fsm.State, network string, a netip.Addr) *fsm.Jail {
	lease, ok := s.Leases.Get(fsm.LeaseKey(network, a))
	if !ok || lease.Jail == "" {
		return nil
	}
	j, ok := s.Jails.Get(string(lease.Jail))
	if !ok {
		return nil
	}
	return j
}

// logName is how a jail is called on other syslog servers.
func logName(j *fsm.Jail) string {
	if len(j.Names) > 0 {
		return j.Names[0]
	}
	return j.Spec.Name
}

// syslogForward reads where messages go besides; "" is nowhere.
func syslogForward(text string) (syslogd.Target, error) {
	if text == "" {
		return syslogd.Target{}, nil
	}
	t, err := syslogd.ParseTarget(text)
	if err != nil {
		return t, fmt.Errorf("syslog-forward %w", err)
	}
	return t, nil
}
