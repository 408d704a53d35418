package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rexcarcer/rexcarcer/hostagent"
	"github.com/rexcarcer/rexcarcer/internal/run"
	"github.com/rexcarcer/rexcarcer/jail"
	"github.com/rexcarcer/rexcarcer/netd"
	"github.com/rexcarcer/rexcarcer/netd/mesh"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

// drivers are what the agent acts through.
type drivers struct {
	jails  jail.Driver
	nets   netd.Driver
	mesh   *mesh.Mesh // nil: networks end at this host
	store  zfssync.Store
	router *hostagent.RouterConfig
}

func (d drivers) close() error {
	var err error
	if c, ok := d.jails.(io.Closer); ok {
		err = c.Close()
	}
	return errors.Join(err, d.nets.Close(), closeMesh(d.mesh), d.store.Close())
}

func openDrivers(o options, instance string, reg prometheus.Registerer, log *slog.Logger) (drivers, error) {
	if o.Runtime == "sim" {
		return drivers{jails: jail.NewSim(jail.SimConfig{}), nets: &netd.Sim{}, store: zfssync.NewSim()}, nil
	}
	if err := jail.BecomeReaper(); err != nil {
		return drivers{}, err
	}
	state := filepath.Join(o.RunDir, instance)
	if err := os.MkdirAll(state, 0o711); err != nil {
		return drivers{}, fmt.Errorf("make state directory: %w", err)
	}
	jails, err := openJails(o, instance, state, log)
	if err != nil {
		return drivers{}, err
	}
	nets, err := netd.New(netd.Options{Instance: instance, RunDir: filepath.Join(state, "net"), Runner: run.Real{}, Log: log, Metrics: reg})
	if err != nil {
		return drivers{}, err
	}
	overlay, err := openMesh(o, instance, state, reg, log)
	if err != nil {
		return drivers{}, errors.Join(err, nets.Close())
	}
	store, err := openStore(o, zfssync.Config{Dir: filepath.Join(o.DataDir, "storage"), Mirror: o.Mirror, Instance: instance, Hide: []string{o.DataDir, o.RunDir}, Runner: run.Real{}, Log: log})
	if err != nil {
		return drivers{}, errors.Join(err, nets.Close())
	}
	router, err := routerConfig()
	if err != nil {
		return drivers{}, errors.Join(err, nets.Close(), store.Close())
	}
	return drivers{jails: jails, nets: nets, mesh: overlay, store: store, router: router}, nil
}

// routerConfig makes this very binary the router's. Its size and time say
// when it has been replaced.
func routerConfig() (*hostagent.RouterConfig, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find own binary: %w", err)
	}
	info, err := os.Stat(self)
	if err != nil {
		return nil, fmt.Errorf("find own binary: %w", err)
	}
	return &hostagent.RouterConfig{Binary: self, Build: fmt.Sprintf("%s %d %d", version, info.Size(), info.ModTime().UnixNano())}, nil
}

func (d *daemon) agentConfig(drv drivers) hostagent.Config {
	c := hostagent.Config{
		Host: d.node.ID(), Name: d.o.Name, Dir: d.o.DataDir, RunDir: d.o.RunDir, LogDir: d.o.LogDir,
		Labels: d.o.Labels, Version: version, Cluster: directSigner{d.node, d.m.ring, d.o.JailCertLife}, Jails: drv.jails, Nets: drv.nets, Store: drv.store, BindAllow: d.o.Site.BindAllow,
		Router: drv.router, BuildLimits: d.o.BuildLimits, BuildTimeout: d.o.BuildTimeout, BuildMinFree: d.o.BuildMinFree, Resolvers: d.o.Resolvers, InetNIC: d.inetNIC(), Runtime: d.o.Runtime, Clock: time.Now, Random: rand.Reader, Log: d.log, Reg: d.reg,
	}
	c.Overlay = d.overlayConfig(drv.mesh)
	if d.sync != nil {
		c.Fetch, c.Carrier = d.fetch, d.sync.mover
	}
	if d.peers != nil {
		c.Peer, c.Contact, c.FenceAfter = d.advertised(), d.node.LastContact, d.o.FenceAfter
	}
	if d.o.GossipPort != 0 {
		c.Gossip = hostPort(d.o.Advertise, d.o.GossipPort)
	}
	return c
}
