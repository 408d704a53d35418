package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/pki"
	"github.com/rexcarcer/rexcarcer/plan"
	"github.com/rexcarcer/rexcarcer/scheduler"
	"github.com/rexcarcer/rexcarcer/spec"
)

// serveLocal answers the API on the local socket, for root alone.
func (d *daemon) serveLocal(ctx context.Context) error {
	if err := os.MkdirAll(d.o.RunDir, 0o711); err != nil {
		return fmt.Errorf("make run directory: %w", err)
	}
	path := d.socket()
	l, err := listenUnix(path)
	if err != nil {
		return err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return errors.Join(err, l.Close())
	}
	s, err := d.apiServer(api.IdentifyLocal)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	close(d.ready)
	return s.Serve(ctx, l)
}

// listenUnix binds path, replacing the socket of a daemon that is gone but
// not that of one which answers.
func listenUnix(path string) (net.Listener, error) {
	if c, err := net.Dial("unix", path); err == nil { //nolint:noctx // a local socket answers or refuses at once
		return nil, errors.Join(fmt.Errorf("%s is served by another rexcarcer: stop it, or choose another -run-dir", path), c.Close())
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("replace %s: %w", path, err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("local API: %w", err)
	}
	return l, nil
}

func (d *daemon) apiServer(who api.Identify) (*api.Server, error) {
	cfg := api.Config{Log: apiLog{d.node, d.agent}, Host: apiHost{d}, Plan: d.plan, Destroy: d.planDestroy, Explain: d.explain, Identify: who,
		Version: version, Logger: d.log, Live: d.live, NewToken: d.newToken(), FenceOf: d.fenceOf, Elsewhere: d.elsewhere(), Reads: apiReads{d}, Trust: apiTrust{d}, Past: apiPast{d.node}}
	if !d.counted.Swap(true) {
		cfg.Registry = d.reg
	}
	d.asked(&cfg)
	return api.New(cfg)
}

// plan compares a wish with State and asks the scheduler where the jails would go.
func (d *daemon) plan(s *fsm.State, w *spec.Wish) (any, error) {
	if err := d.agent.Check(context.Background(), w); err != nil {
		return nil, err
	}
	return plan.Make(w, present(s), scheduled)
}

// planDestroy is plan for the end of a wish.
func (d *daemon) planDestroy(s *fsm.State, name string) (any, error) { return plan.Destroy(name, s) }

func (d *daemon) explain(s *fsm.State, jail fsm.JailName) []string {
	return explanation(scheduler.Explain(s, jail, fsm.TimeOf(time.Now())))
}

// serveTLS answers the API to clients with a certificate of the cluster.
func (d *daemon) serveTLS(ctx context.Context) error {
	if d.o.APIPort == 0 {
		return nil
	}
	if err := d.adminCert(); err != nil {
		return err
	}
	addr := hostPort(d.o.Bind, d.o.APIPort)
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("API over TLS on %s: %w: choose another -api-port, or 0 to do without", addr, err)
	}
	s, err := d.apiServer(api.IdentifyTLS(d.tlsRole))
	if err != nil {
		return errors.Join(err, l.Close())
	}
	return s.Serve(ctx, tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS13, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		conf := pki.AlsoCheck(pki.ServerTLS(d.m.identity, d.m.ring.Roots(), true, d.allowAPI, time.Now), d.revoked)
		conf.NextProtos = []string{"http/1.1"} // exec takes the connection over, which HTTP/2 has no way to do
		return conf, nil
	}}))
}

// allowAPI admits users and members that were not removed.
func (d *daemon) allowAPI(id pki.ID) error {
	if err := pki.AllowRoles(d.m.cluster, pki.RoleUser, pki.RoleServer, pki.RoleHost)(id); err != nil {
		return err
	}
	return d.denied(id)
}

// tlsRole says who a verified client certificate speaks for. It is asked at
// each request, so that a certificate which is revoked ends with the next one.
func (d *daemon) tlsRole(c *x509.Certificate) (by, role string, err error) {
	id, err := pki.CertID(c)
	if err == nil {
		err = d.revoked(c)
	}
	if err != nil {
		return "", "", err
	}
	switch id.Role {
	case pki.RoleUser:
		return "user/" + id.Name, "admin", nil
	case pki.RoleServer:
		return "host/" + id.Name, api.RoleServer, nil
	}
	return string(id.Role) + "/" + id.Name, string(id.Role), nil
}

const (
	hostCertLife  = 30 * 24 * time.Hour
	adminCertLife = 30 * 24 * time.Hour
)

// adminCert leaves a user certificate beside the CA, for rexctl over TLS.
func (d *daemon) adminCert() error {
	ca, err := d.m.ring.Signer()
	if err != nil {
		return nil //nolint:nilerr // a server leaves one, once it can sign
	}
	chain, err := issue(ca, d.o.DataDir, "admin.key", pki.Profile{ID: pki.ID{Role: pki.RoleUser, Name: "admin"}, Lifetime: adminCertLife, Client: true})
	if err != nil {
		return fmt.Errorf("certificate of the administrator: %w", err)
	}
	if err := renameio.WriteFile(filepath.Join(d.o.DataDir, "pki", "admin.crt"), chain, 0o600); err != nil {
		return fmt.Errorf("certificate of the administrator: %w", err)
	}
	return nil
}

// serveMetrics answers /metrics, /healthz and /readyz.
func (d *daemon) serveMetrics(ctx context.Context) error {
	if d.o.MetricsPort == 0 {
		return nil
	}
	addr := hostPort(d.o.MetricsBind, d.o.MetricsPort)
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("metrics on %s: %w: choose another -metrics-port, or 0 to do without", addr, err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(d.reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if _, ok := d.node.State().Hosts.Get(string(d.node.ID())); !ok {
			http.Error(w, "this host has not joined yet", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	return serveHTTP(ctx, &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}, l)
}

// serveHTTP serves until ctx ends, then lets requests finish for a moment.
// Whoever owns the listener may close it when ctx ends, and be faster.
func serveHTTP(ctx context.Context, s *http.Server, l net.Listener) error {
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	select {
	case err := <-done:
		if ctx.Err() == nil {
			return err
		}
		done <- err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	var errs []error
	for _, err := range []error{s.Shutdown(stop), <-done} {
		if !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// explanation is e in lines for people.
func explanation(e scheduler.Explanation) []string {
	lines := []string{e.Summary}
	for _, h := range e.Hosts {
		line := "host " + h.Name + ": "
		if h.Fits {
			line += fmt.Sprintf("fits, score %+.2f", h.Score)
			for _, t := range h.Terms {
				line += fmt.Sprintf(" %s %+.2f", t.Name, t.Value)
			}
			lines = append(lines, line)
			continue
		}
		for _, f := range h.Filters {
			if !f.OK {
				lines = append(lines, line+f.Filter+": "+f.Why)
			}
		}
	}
	return lines
}
