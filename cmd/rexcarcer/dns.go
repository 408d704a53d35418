package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/dnsd"
	"github.com/rexcarcer/rexcarcer/hostagent"
)

// makeNames makes what answers DNS on this host.
func (d *daemon) makeNames() error {
	metrics := dnsd.NewMetrics(d.reg)
	d.names, d.forward = dnsd.NewHandler(isLocal, metrics), dnsd.NewForwarder(d.o.Resolvers, metrics)
	d.names.AllowTransfers(d.o.DNS.Peers, d.o.DNS.Keys)
	if d.o.DNS.SignKey == "" {
		return nil
	}
	signer, err := dnsd.LoadSigner(d.o.DNS.SignKey)
	if err != nil {
		return fmt.Errorf("dns-sign: %w", err)
	}
	d.names.Sign(signer)
	return nil
}

// serveDNS answers this host itself: the whole zone, and everything else for
// programs on this host.
func (d *daemon) serveDNS(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return dnsd.Track(ctx, d.node, d.names) })
	if anchor := d.names.Anchor(d.node.State().Cluster.Domain); anchor != "" {
		d.log.Info("DNS answers are signed", "anchor", anchor)
	}
	if d.o.DNS.Unbound != "" {
		g.Go(func() error { return d.feedUnbound(ctx, d.o.DNS.Unbound) })
	}
	if len(d.o.DNS.Targets) > 0 {
		g.Go(func() error { return d.names.Notify(ctx, d.o.DNS.Targets, d.log) })
	}
	if d.o.DNSPort == 0 {
		return g.Wait()
	}
	bind, err := netip.ParseAddr(d.o.DNSBind)
	if err != nil {
		return fmt.Errorf("dns-bind: %w", err)
	}
	s, err := dnsd.Listen(ctx, []netip.AddrPort{netip.AddrPortFrom(bind, uint16(d.o.DNSPort))}, d.names, d.forward, d.log)
	if err != nil {
		return fmt.Errorf("%w: choose another -dns-port, or 0 to do without", err)
	}
	g.Go(func() error { return s.Run(ctx) })
	return g.Wait()
}

// isLocal lets programs of this host resolve foreign names, and nobody else.
func isLocal(a netip.Addr) bool { return a.IsLoopback() }

// Query asks this host's DNS server.
func (h apiHost) Query(ctx context.Context, name, qtype string) (api.DNSAnswer, error) {
	r, err := h.d.names.Query(ctx, h.d.forward, name, qtype)
	if err != nil {
		return api.DNSAnswer{}, err
	}
	out := api.DNSAnswer{Name: r.Name, Type: r.Type, Rcode: r.Rcode, Authoritative: r.Authoritative, Answers: []api.DNSRecord{}, Server: h.d.o.Name}
	for _, rr := range r.Answers {
		out.Answers = append(out.Answers, api.DNSRecord{Name: rr.Name, Type: rr.Type, TTL: rr.TTL, Data: rr.Data})
	}
	return out, nil
}

// serveFeeds gives each network's router its slice of State, over a socket
// in a directory of that network's own.
func (d *daemon) serveFeeds(ctx context.Context) error {
	if d.o.Runtime == "sim" {
		return nil // nobody would ask
	}
	return d.eachNetwork(ctx, d.serveFeed)
}

func (d *daemon) serveFeed(ctx context.Context, network string) {
	path := hostagent.SocketPath(d.o.RunDir, network)
	err := os.MkdirAll(filepath.Dir(path), 0o711)
	if err == nil {
		l, lerr := dnsd.ListenFeed(path, 0o600)
		if err = lerr; err == nil {
			err = dnsd.ServeFeed(ctx, l, d.node, network, func(uid uint32) bool { return uid == 0 }, d.log)
		}
	}
	if err != nil && ctx.Err() == nil {
		d.log.Error("a network's router gets no news", "network", network, "err", err)
	}
}
