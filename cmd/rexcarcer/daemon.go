package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/rexcarcer/rexcarcer/cluster"
	"github.com/rexcarcer/rexcarcer/cluster/gossip"
	"github.com/rexcarcer/rexcarcer/dnsd"
	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/hostagent"
	"github.com/rexcarcer/rexcarcer/jail"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

// daemon is one running rexcarcer, wired together.
type daemon struct {
	o       options
	log     *slog.Logger
	reg     *prometheus.Registry
	m       *member
	gossip  atomic.Pointer[gossip.Gossip]
	peers   *peers // nil: a cluster of one without a port
	node    *cluster.Node
	agent   *hostagent.Agent
	sync    *syncing      // nil: as peers, and where storage is simulated
	ready   chan struct{} // closed when the local API answers
	counted atomic.Bool   // the API metrics are registered
	abuses  abuses

	names   *dnsd.Handler   // the host's own view of DNS
	forward *dnsd.Forwarder // what the cluster does not know
}

// runDaemon runs until ctx ends or something essential fails. With -dev it
// then stops the jails and removes what was made on the host.
func runDaemon(ctx context.Context, o options) (err error) {
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: o.LogLevel}))
	d := &daemon{o: o, log: logger, reg: prometheus.NewRegistry(), ready: make(chan struct{})}
	d.reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if o.temp {
		defer func() { err = errors.Join(err, zfssync.Erase(o.DataDir)) }()
	}
	if err := errors.Join(openDataDir(o.DataDir), d.makeNames()); err != nil {
		return err
	}
	drv, err := openDrivers(o, d.instance(), d.reg, logger)
	if err != nil {
		return asked(ctx, err)
	}
	defer func() { err = errors.Join(err, drv.close()) }()
	if err := d.openCluster(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.node.Close()) }()
	if err := d.openSync(drv.store); err != nil {
		return err
	}
	d.agent, err = hostagent.New(ctx, d.agentConfig(drv))
	if err != nil {
		return asked(ctx, err)
	}
	defer func() { err = errors.Join(err, d.agent.Close()) }()
	err = asked(ctx, d.serve(ctx))
	if !o.Dev {
		return err
	}
	logger.Info("stopping the jails and removing what was made on this host")
	retreat, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
	defer cancel()
	return errors.Join(err, d.agent.Retreat(retreat))
}

// asked drops an error that only says that the daemon was told to end: doing
// so while it still starts is no failure.
func asked(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// instance is a short name for the data directory: several daemons can live
// on one machine, and each touches only what has its mark.
func (d *daemon) instance() string {
	sum := sha256.Sum256([]byte(d.o.DataDir))
	return hex.EncodeToString(sum[:4])
}

func (d *daemon) openCluster() error {
	var err error
	if d.m, err = openMember(d.o); err != nil {
		return err
	}
	if d.m.kept.Joined && d.o.ClusterPort == 0 {
		return errors.New("this host has joined a cluster: it needs its -cluster-port")
	}
	if err := d.openPeers(); err != nil {
		return err
	}
	conf := cluster.Config{
		Dir: d.o.DataDir, Log: d.log, Reg: d.reg, Clock: d.clock(), Fatal: d.fatal,
		Join: d.m.kept.Joined, Heartbeat: d.o.Heartbeat,
	}
	if d.peers != nil {
		conf.Layer, conf.Peers, conf.Advertise = d.peers.layer, d.clusterPeers(), d.advertised()
	}
	node, err := cluster.Open(conf)
	if err != nil {
		if d.peers != nil {
			err = errors.Join(err, d.peers.mux.Close())
		}
		return err
	}
	d.node = node
	return nil
}

// fatal ends the process at once: a host that cannot trust its disk or its
// log must not go on. Its jails do, and the next start adopts them.
func (d *daemon) fatal(err error) {
	d.log.Error("ending", "err", err)
	os.Exit(1) //nolint:forbidigo // raft itself may hang: nobody could return
}

// serve runs all parts until ctx ends or one fails; then it waits for all.
func (d *daemon) serve(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return d.node.Run(ctx, d.duties()...)
	})
	for _, part := range []func(context.Context) error{d.runPeers, d.runGossip, d.servePeers, d.serveJoin, d.serveSync, d.renew, d.keepTrust} {
		g.Go(func() error { return part(ctx) })
	}
	g.Go(func() error {
		// What a killed runtime leaves behind is our child, and our zombie.
		if err := jail.ReapOrphans(ctx, 10*time.Second); ctx.Err() == nil {
			return err
		}
		return nil
	})
	if _, err := d.node.Wait(ctx, func(s *fsm.State) bool { return s.Cluster.ID != "" }); err != nil {
		return errors.Join(fmt.Errorf("the cluster was not founded: %w", err), g.Wait())
	}
	g.Go(func() error { return d.agent.Run(ctx) })
	d.awaitHost(ctx)
	for _, part := range []func(context.Context) error{d.serveLocal, d.serveTLS, d.serveMetrics, d.serveDNS, d.serveFeeds, d.serveSockets, d.serveDHCP, d.serveSyslog, d.runDeploy, d.watchClock, d.runNotify} {
		g.Go(func() error { return part(ctx) })
	}
	g.Go(func() error {
		select {
		case <-d.ready:
			d.hello()
		case <-ctx.Done():
		}
		return nil
	})
	return g.Wait()
}

// awaitHost waits until the log knows this host: a plan that is made before
// has no host to put jails on. The doors of a host that cannot reach a quorum
// open all the same.
func (d *daemon) awaitHost(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, _ = d.node.Wait(ctx, func(s *fsm.State) bool { // in vain is no error, see above
		_, known := s.Hosts.Get(string(d.node.ID()))
		return known
	})
}

// duties are what this host does while it leads.
func (d *daemon) duties() []cluster.Duty {
	duties := []cluster.Duty{d.found, d.outlive, schedule(d.node, time.Now, d.log), sign(d.node, d.m.ring, d.o.JailCertLife, time.Now, d.log), d.rotateCAs, d.endGuests}
	if d.peers != nil {
		duties = append(duties, d.node.Members, d.keyGossip, d.markHosts)
	}
	return duties
}

// found is a leader's duty: the first one makes the cluster.
func (d *daemon) found(ctx context.Context) error {
	if d.node.State().Cluster.ID != "" {
		return nil
	}
	_, err := d.node.Propose(ctx, "host/"+string(d.node.ID()), fsm.Genesis{
		ClusterID: d.m.cluster, Domain: d.o.Domain, CA: string(d.m.ring.PEM())})
	if err != nil {
		return fmt.Errorf("found the cluster: %w", err)
	}
	return nil
}

// hello tells a person what to do next.
func (d *daemon) hello() {
	if d.o.quiet {
		return
	}
	kind := "jails are real"
	if d.o.Runtime == "sim" {
		kind = "jails are SIMULATED: nothing of them runs"
	}
	fmt.Fprintf(os.Stderr, "rexcarcer %s is ready (%s)\n  data     %s\n  local    %s\n", version, kind, d.o.DataDir, d.socket())
	if d.o.APIPort != 0 {
		fmt.Fprintf(os.Stderr, "  api      https://%s (client certificate: %s)\n", hostPort(d.o.Bind, d.o.APIPort), filepath.Join(d.o.DataDir, "pki", "admin.crt"))
	}
	if d.o.DNSPort != 0 {
		fmt.Fprintf(os.Stderr, "  dns      dig @%s -p %d NAME.%s\n", d.o.DNSBind, d.o.DNSPort, d.node.State().Cluster.Domain)
	}
	if d.o.MetricsPort != 0 {
		fmt.Fprintf(os.Stderr, "  metrics  http://%s/metrics\n", hostPort(d.o.MetricsBind, d.o.MetricsPort))
	}
	fmt.Fprintf(os.Stderr, "next: rexctl apply cluster.hcl\n")
}

func (d *daemon) socket() string { return filepath.Join(d.o.RunDir, "rexcarcer.sock") }

// openDataDir makes the data directory passable (not readable) for the mapped
// users of jails, whose roots lie below it.
func openDataDir(dir string) error {
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	return nil
}
