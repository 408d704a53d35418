package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/rexcarcer/rexcarcer/cluster"
	"github.com/rexcarcer/rexcarcer/cluster/join"
	"github.com/rexcarcer/rexcarcer/cluster/rpc"
	"github.com/rexcarcer/rexcarcer/cluster/transport"
	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/pki"
)

// peers is the cluster port: what other members call, and how they are called.
// It is nil in a cluster of one that has none.
type peers struct {
	mux    *transport.Mux
	dialer *transport.Dialer
	trip   *http.Transport // HTTP to members by their id
	layer  *transport.RaftLayer
}

// openPeers opens the cluster port. Nothing is answered before servePeers.
func (d *daemon) openPeers() error {
	if d.o.ClusterPort == 0 {
		return nil
	}
	conf := transport.Config{
		Cluster: d.m.cluster, Identity: d.m.identity, Roots: d.m.ring.Roots,
		Denied: d.denied, Check: d.revoked, Clock: time.Now, Log: d.log,
	}
	raft := transport.RaftProtocol(d.m.kept.Generation)
	protocols := []transport.Protocol{
		{Name: raft, Roles: []pki.Role{pki.RoleServer}},
		{Name: transport.RPC, Roles: transport.Members()},
		{Name: transport.Sync, Roles: transport.Members()},
	}
	if d.m.signs() {
		protocols = append(protocols, transport.Protocol{Name: transport.Join, Identity: d.m.joining})
	}
	mux, err := transport.Listen(hostPort(d.o.ClusterBind, d.o.ClusterPort), conf, protocols...)
	if err != nil {
		return err
	}
	dialer := transport.NewDialer(conf)
	d.peers = &peers{
		mux: mux, dialer: dialer, trip: dialer.RoundTripper(transport.RPC, d.addrOf),
		layer: transport.NewRaftLayer(mux.Listener(raft), dialer, raft, d.advertised()),
	}
	return nil
}

// advertised is HOST:PORT of the cluster port as others reach it.
func (d *daemon) advertised() string { return hostPort(d.o.Advertise, d.o.ClusterPort) }

func (d *daemon) addrOf(id string) (string, bool) {
	if d.node == nil {
		return "", false
	}
	return d.node.PeerAddr(fsm.HostID(id))
}

// denied says why a member is out.
func (d *daemon) denied(id pki.ID) error {
	if d.node == nil {
		return nil // the port is open before the log is; nobody is let in by it
	}
	if out, ok := d.node.State().Denied.Get(id.Name); ok && id.Role != pki.RoleUser {
		return fmt.Errorf("host %s (%s) was removed from this cluster", out.Name, id.Name)
	}
	return nil
}

// runPeers accepts on the cluster port until ctx ends.
func (d *daemon) runPeers(ctx context.Context) error {
	if d.peers == nil {
		return nil
	}
	defer d.peers.trip.CloseIdleConnections()
	return d.peers.mux.Run(ctx)
}

// servePeers answers what other members and joining hosts ask.
func (d *daemon) servePeers(ctx context.Context) error {
	if d.peers == nil {
		return nil
	}
	defer d.abuses.wg.Wait()
	more := http.NewServeMux()
	more.HandleFunc("POST /rpc/renew", d.signHost)
	more.HandleFunc("POST /rpc/ca", d.giveCA)
	forMembers, err := d.apiServer(func(r *http.Request) (string, string, error) {
		_, by, role, err := rpc.Identify(r)
		return by, role, err
	})
	if err != nil {
		return err
	}
	more.Handle("/v1/", forMembers.Handler())
	s := &http.Server{Handler: rpc.Handler(d.node, more, d.abuse), ConnContext: transport.ConnContext, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
	return serveHTTP(ctx, s, d.peers.mux.Listener(transport.RPC))
}

// serveJoin answers hosts that want to join, if this one can sign.
func (d *daemon) serveJoin(ctx context.Context) error {
	if d.peers == nil || !d.m.signs() {
		return nil
	}
	h := join.NewHandler(joins{d}, d.log, d.reg)
	defer h.Wait()
	s := &http.Server{Handler: h, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	return serveHTTP(ctx, s, d.peers.mux.Listener(transport.Join))
}

// signHost renews the certificate of the member that asks, for itself.
func (d *daemon) signHost(w http.ResponseWriter, r *http.Request) {
	peer, _ := transport.Peer(r.Context())
	ca, err := d.m.ring.Signer()
	if err != nil {
		http.Error(w, "this host does not sign: "+err.Error(), http.StatusNotFound)
		return
	}
	csr, err := io.ReadAll(io.LimitReader(r.Body, 16<<10))
	h, known := d.node.State().Hosts.Get(peer.Name)
	if err != nil || !known {
		http.Error(w, "no such member", http.StatusForbidden)
		return
	}
	chain, err := pki.Issue(ca, csr, hostProfile(string(peer.Role), h.ID, h.Name), time.Now())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	d.log.Info("renewed the certificate of a host", "host", peer.Name)
	_, _ = w.Write(chain) // the host asks again if this fails
}

// giveCA hands the CA's key to a server that has joined: it may have to sign
// when it leads.
func (d *daemon) giveCA(w http.ResponseWriter, r *http.Request) {
	peer, _ := transport.Peer(r.Context())
	if h, ok := d.node.State().Hosts.Get(peer.Name); peer.Role != pki.RoleServer || !ok || h.Role != fsm.RoleServer {
		d.abuse(peer, "get the CA's key", "it is for servers only")
		http.Error(w, "for servers only", http.StatusForbidden)
		return
	}
	list, err := trusted(d.node.State(), d.m.ring)
	cert := list[0].PEM
	if id := r.URL.Query().Get("id"); id != "" {
		ca := d.node.State().Cluster.FindCA(id)
		if ca == nil {
			http.Error(w, "no such CA here (yet)", http.StatusNotFound)
			return
		}
		cert = []byte(ca.PEM)
	}
	key, kerr := d.m.ring.Key(cert)
	if err = errors.Join(err, kerr); err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	d.log.Info("a server was given a CA's key", "host", peer.Name)
	_, _ = w.Write(key) // it asks again if this fails
}

// askServers posts body to one server after the other until one answers.
func (d *daemon) askServers(ctx context.Context, path string, body []byte) ([]byte, error) {
	var last error
	for id, h := range d.node.State().Hosts.All {
		if h.Role != fsm.RoleServer || h.State == fsm.HostLost {
			continue
		}
		answer, err := post(ctx, d.peers.trip, id, path, body)
		if err == nil {
			return answer, nil
		}
		last = err
	}
	return nil, errors.Join(errors.New("no server answers"), last)
}

// post sends body to the member id and wants an answer of 200.
func post(ctx context.Context, trip http.RoundTripper, id, path string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+id+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	res, err := trip.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("ask host %s: %w", id, err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err == nil && res.StatusCode != http.StatusOK {
		err = errors.New(string(bytes.TrimSpace(answer)))
	}
	if err != nil {
		return nil, fmt.Errorf("ask host %s: %w", id, err)
	}
	return answer, nil
}

// joins is the cluster as package join sees it.
type joins struct{ d *daemon }

// Token implements join.Cluster.
func (j joins) Token(id string) (join.Kept, bool) {
	s := j.d.node.State()
	k, ok := s.Tokens.Get(id)
	if !ok {
		return join.Kept{}, false
	}
	kept := join.Kept{Hash: k.Hash, Role: k.Role, Ended: k.Usable(max(s.Now, fsm.TimeOf(time.Now())))}
	for _, h := range k.Uses {
		kept.UsedBy = append(kept.UsedBy, string(h))
	}
	return kept, true
}

// Admit implements join.Cluster.
func (j joins) Admit(ctx context.Context, r join.Request) error {
	key, err := pki.KeyID(r.CSR)
	if err != nil {
		return err
	}
	_, err = j.d.node.Propose(ctx, "token/"+r.Token, fsm.AdmitHost{
		Token: r.Token, Host: fsm.HostID(r.Host), Name: r.Name, Role: r.Role, Peer: r.Peer, Key: key,
	})
	if refusal := (*fsm.Refusal)(nil); errors.As(err, &refusal) && refusal.Code == fsm.CodeFenced {
		return fmt.Errorf("%w (%s)", join.ErrRefused, refusal.Text)
	}
	return err
}

// Issue implements join.Cluster.
func (j joins) Issue(r join.Request) (join.Answer, error) {
	d := j.d
	ca, err := d.m.ring.Signer()
	if err != nil {
		return join.Answer{}, err
	}
	chain, err := pki.Issue(ca, r.CSR, hostProfile(r.Role, fsm.HostID(r.Host), r.Name), time.Now())
	if err != nil {
		return join.Answer{}, err
	}
	a := join.Answer{Cluster: d.m.cluster, Role: r.Role, Chain: string(chain), CA: string(d.m.ring.PEM()), Generation: d.m.kept.Generation, Peers: map[string]string{}}
	for id, h := range d.node.State().Hosts.All {
		if addr, ok := d.node.PeerAddr(h.ID); ok && id != r.Host {
			a.Peers[id] = addr
		}
	}
	a.Peers[string(d.m.id)] = d.advertised()
	return a, nil
}

// Refused implements join.Cluster.
func (j joins) Refused(ctx context.Context, token, from, why string) {
	if _, err := j.d.node.Propose(ctx, "token/"+token, fsm.ReportJoin{Token: token, From: from, Why: why}); err != nil {
		j.d.log.Warn("a refused join is not recorded", "token", token, "from", from, "why", why, "err", err)
	}
}

// clusterPeers is what the Node carries its requests over, nil without a port.
func (d *daemon) clusterPeers() cluster.Peers {
	if d.peers == nil {
		return nil
	}
	return rpc.NewClient(d.peers.trip)
}

// firstAddress is an address of this machine that others may reach it by.
func firstAddress() string {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return "127.0.0.1"
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	return "127.0.0.1"
}

// nicAddress is the first address of an interface.
func nicAddress(name string) (string, error) {
	nic, err := net.InterfaceByName(name)
	if err != nil {
		return "", fmt.Errorf("inet-nic %s: %w", name, err)
	}
	addrs, err := nic.Addrs()
	if err != nil {
		return "", fmt.Errorf("inet-nic %s: %w", name, err)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && (n.IP.IsGlobalUnicast() || n.IP.IsLoopback()) {
			return n.IP.String(), nil
		}
	}
	return "", fmt.Errorf("inet-nic %s: it has no address", name)
}
