//go:build linux

package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rexcarcer/rexcarcer/internal/bulk"
	"github.com/rexcarcer/rexcarcer/internal/run"
	"github.com/rexcarcer/rexcarcer/pki"
	"github.com/rexcarcer/rexcarcer/zfssync"
	"github.com/rexcarcer/rexcarcer/zfssync/transfer"
)

// order is what a child process is told: which store, and what to do.
type order struct {
	Certs   string // directory of ca.crt, host.crt and host.key
	Dir     string // of the store
	Dataset string // of a store on ZFS
	Addr    string // to receive from
	Volume  string
	Delta   bool
	Profile string // directory for CPU profiles, "" for none
}

// result is what a child that receives answers.
type result struct {
	Addr    string  `json:",omitempty"` // of one that serves
	Seconds float64 // of the transfer alone
	Bytes   int64   // that came over the network
	Err     string  `json:",omitempty"`
}

func (o order) open(ctx context.Context) (zfssync.Store, error) {
	c := zfssync.Config{Dir: o.Dir, Runner: run.Real{}}
	if o.Dataset != "" {
		return openZFS(ctx, c, o.Dataset)
	}
	return zfssync.OpenOverlay(c)
}

// child plays one side, as the daemon would.
func child(role string, in io.Reader, out io.Writer) error {
	var o order
	if err := json.NewDecoder(in).Decode(&o); err != nil {
		return err
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	stop, err := profile(o.Profile, role)
	if err != nil {
		return err
	}
	defer stop()
	store, err := o.open(ctx)
	if err != nil {
		return err
	}
	id, ca, err := load(o.Certs)
	if err != nil {
		return errors.Join(err, store.Close())
	}
	switch role {
	case "serve":
		err = serve(ctx, o, store, id, ca, out)
	case "receive":
		err = receive(ctx, o, store, id, ca, out)
	default:
		err = fmt.Errorf("no role %q", role)
	}
	return errors.Join(err, store.Teardown(context.WithoutCancel(ctx)), store.Close())
}

func anybody(pki.ID) error { return nil }

func serve(ctx context.Context, _ order, store zfssync.Store, id *pki.Identity, ca *pki.CA, out io.Writer) error {
	conf := pki.ServerTLS(id, ca.Pool(), true, anybody, time.Now)
	conf.NextProtos = []string{transfer.ALPN}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if err := json.NewEncoder(out).Encode(result{Addr: l.Addr().String()}); err != nil {
		return err
	}
	h := transfer.NewServer(transfer.ServerConfig{Store: store, Allow: func(*tls.ConnectionState) error { return nil }})
	return transfer.Serve(ctx, tls.NewListener(wide{l}, conf), h)
}

// wide makes connections as package cluster/transport does.
type wide struct{ net.Listener }

func (w wide) Accept() (net.Conn, error) {
	c, err := w.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return bulk.Wrap(c), nil
}

func dial(ctx context.Context, addr string, conf *tls.Config) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	b := bulk.Wrap(c)
	b.ReadAhead()
	t := tls.Client(b, conf)
	if err := t.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return t, nil
}

func receive(ctx context.Context, o order, store zfssync.Store, id *pki.Identity, ca *pki.CA, out io.Writer) error {
	conf := pki.ClientTLS(id, ca.Pool(), anybody, time.Now)
	conf.NextProtos = []string{transfer.ALPN}
	tr := transfer.NewTransport(func(ctx context.Context, _ string) (net.Conn, error) {
		return dial(ctx, o.Addr, conf)
	})
	defer tr.CloseIdleConnections()
	reg := prometheus.NewRegistry()
	work := filepath.Join(filepath.Dir(o.Dir), "work")
	c, err := transfer.NewClient(transfer.Config{Store: store, Delta: o.Delta, Work: work, Metrics: transfer.NewMetrics(reg)})
	if err != nil {
		return err
	}
	var r result
	begun := time.Now()
	_, err = c.EnsureObject(ctx, zfssync.Object{Kind: zfssync.KindVolume, Name: o.Volume}, transfer.ObjectOptions{}, []transfer.Source{{Name: "bench", HTTP: tr}})
	r.Seconds = time.Since(begun).Seconds()
	if err != nil {
		r.Err = err.Error()
	}
	all, gerr := reg.Gather()
	for _, f := range all {
		if f.GetName() == "rexcarcer_transfer_received_bytes_total" {
			r.Bytes = int64(f.GetMetric()[0].GetCounter().GetValue())
		}
	}
	return errors.Join(gerr, json.NewEncoder(out).Encode(r))
}

// certificates makes a CA and one host's certificate, which both sides use.
func certificates(dir string) error {
	caKey, err := pki.NewKey()
	if err != nil {
		return err
	}
	ca, err := pki.NewCA("rc-bench", caKey, time.Now(), rand.Reader)
	if err != nil {
		return err
	}
	key, err := pki.NewKey()
	if err != nil {
		return err
	}
	csr, err := pki.NewCSR(key, "bench")
	if err != nil {
		return err
	}
	chain, err := pki.Issue(ca, csr, pki.Profile{ID: pki.ID{Role: pki.RoleHost, Name: "bench"}, Lifetime: time.Hour, Server: true, Client: true}, time.Now())
	if err != nil {
		return err
	}
	keyPEM, err := pki.EncodeKey(key)
	caPEM, cerr := pki.EncodeKey(caKey)
	return errors.Join(err, cerr, os.WriteFile(filepath.Join(dir, "ca.crt"), ca.CertPEM(), 0o600), os.WriteFile(filepath.Join(dir, "ca.key"), caPEM, 0o600),
		os.WriteFile(filepath.Join(dir, "host.crt"), chain, 0o600), os.WriteFile(filepath.Join(dir, "host.key"), keyPEM, 0o600))
}

func load(dir string) (*pki.Identity, *pki.CA, error) {
	var b [4][]byte
	for i, name := range []string{"ca.crt", "ca.key", "host.crt", "host.key"} {
		var err error
		if b[i], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			return nil, nil, err
		}
	}
	caKey, err := pki.ParseKey(b[1])
	if err != nil {
		return nil, nil, err
	}
	ca, err := pki.LoadCA(b[0], caKey, rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	id, err := pki.NewIdentity(b[2], b[3])
	return id, ca, err
}
