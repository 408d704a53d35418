package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/bulk"
	"github.com/rexcarcer/rexcarcer/pki"
)

// The protocols on the port, as ALPN names them.
const (
	Raft = "rexcarcer-raft"    // with the generation behind it, see RaftProtocol
	RPC  = "rexcarcer-rpc"     // HTTP/1.1 between members
	Sync = "rexcarcer-zfssync" // HTTP/1.1: images, volumes
	Join = "rexcarcer-join"    // HTTP/1.1 from hosts that have no certificate yet
)

// RaftProtocol is raft's name in a generation: members that were left behind
// by a recovery find nobody who speaks theirs.
func RaftProtocol(generation uint64) string { return fmt.Sprintf("%s.%d", Raft, generation) }

const (
	handshakeTime = 5 * time.Second
	maxHandshakes = 512 // at once; more wait in the kernel's queue
)

// Config is who this member is and whom it trusts. All fields but Denied and Check are
// required.
type Config struct {
	Cluster  string
	Identity *pki.Identity
	Roots    func() *x509.CertPool         // the newest roots
	Denied   func(pki.ID) error            // says why a member is out; nil: nobody is
	Check    func(*x509.Certificate) error // says why a certificate is refused that is good else; nil: none is
	Clock    func() time.Time
	Log      *slog.Logger
}

// Protocol is what a port speaks, and with whom.
type Protocol struct {
	Name     string
	Roles    []pki.Role    // of peers; empty: anybody, without a certificate
	Identity *pki.Identity // nil: Config.Identity
}

// Mux is the listening end.
type Mux struct {
	cfg       Config
	listener  net.Listener
	protocols map[string]*protocolListener
	slots     chan struct{} // one for each handshake
}

// Listen opens addr for the protocols. Run serves it.
func Listen(addr string, cfg Config, protocols ...Protocol) (*Mux, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("cluster port %s: %w: choose another -cluster-port", addr, err)
	}
	m := &Mux{cfg: cfg, listener: l, protocols: map[string]*protocolListener{}, slots: make(chan struct{}, maxHandshakes)}
	for _, p := range protocols {
		m.protocols[p.Name] = &protocolListener{Protocol: p, addr: l.Addr(), conns: make(chan net.Conn), closed: make(chan struct{})}
	}
	return m, nil
}

// Addr is where it listens.
func (m *Mux) Addr() net.Addr { return m.listener.Addr() }

// Listener gives the connections of one protocol that Listen was told of.
func (m *Mux) Listener(name string) net.Listener { return m.protocols[name] }

// Close stops listening; connections that were handed on stay.
func (m *Mux) Close() error {
	err := m.listener.Close()
	for _, p := range m.protocols {
		err = errors.Join(err, p.Close())
	}
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Run accepts until ctx ends, and waits for the handshakes that run then.
func (m *Mux) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wg.Go(func() {
		<-ctx.Done()
		if err := m.Close(); err != nil {
			m.cfg.Log.Warn("close the cluster port", "err", err)
		}
	})
	for {
		select {
		case m.slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		c, err := m.listener.Accept()
		if err != nil {
			<-m.slots
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			m.cfg.Log.Warn("cluster port: accept", "err", err)
			if !pause(ctx, 100*time.Millisecond) { // too many files are open: it passes
				return nil
			}
			continue
		}
		wg.Go(func() {
			defer func() { <-m.slots }()
			m.welcome(ctx, c)
		})
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// welcome shakes hands and hands c on.
func (m *Mux) welcome(ctx context.Context, c net.Conn) {
	t := tls.Server(bulk.Wrap(c), &tls.Config{MinVersion: tls.VersionTLS13, GetConfigForClient: m.configFor, Time: m.cfg.Clock})
	shaking, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	if err := t.HandshakeContext(shaking); err != nil {
		m.cfg.Log.Debug("cluster port: handshake", "peer", c.RemoteAddr().String(), "err", err)
		_ = c.Close()
		return
	}
	p := m.protocols[t.ConnectionState().NegotiatedProtocol]
	if p == nil {
		_ = t.Close() // configFor lets nobody come so far
		return
	}
	hand := time.NewTimer(handshakeTime)
	defer hand.Stop()
	select {
	case p.conns <- &conn{t}:
		return
	case <-p.closed:
	case <-hand.C: // nobody accepts
	case <-ctx.Done():
	}
	_ = t.Close()
}

// configFor chooses by the first protocol of ours that the client names.
func (m *Mux) configFor(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	for _, name := range hello.SupportedProtos {
		p, ok := m.protocols[name]
		if !ok {
			continue
		}
		id := p.Identity
		if id == nil {
			id = m.cfg.Identity
		}
		conf := pki.AlsoCheck(pki.ServerTLS(id, m.cfg.Roots(), len(p.Roles) > 0, m.cfg.allow(p.Roles...), m.cfg.Clock), m.cfg.Check)
		if len(p.Roles) == 0 {
			conf.ClientAuth = tls.NoClientCert
		}
		conf.NextProtos = []string{name}
		conf.SessionTicketsDisabled = true // connections last; each one is checked in full
		return conf, nil
	}
	return nil, fmt.Errorf("no protocol of %v is spoken here", hello.SupportedProtos)
}

// allow admits members of the cluster with one of roles that are not out.
func (c Config) allow(roles ...pki.Role) pki.Allow {
	known := pki.AllowRoles(c.Cluster, roles...)
	return func(id pki.ID) error {
		if err := known(id); err != nil {
			return err
		}
		if c.Denied == nil {
			return nil
		}
		return c.Denied(id)
	}
}

// protocolListener is the net.Listener of one protocol.
type protocolListener struct {
	Protocol
	addr   net.Addr
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

var _ net.Listener = (*protocolListener)(nil)

// conn hides that a connection is TLS from http.Server, which would look for
// its own protocols in the ALPN.
type conn struct{ *tls.Conn }

// Accept implements net.Listener.
func (l *protocolListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener: other protocols go on.
func (l *protocolListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener.
func (l *protocolListener) Addr() net.Addr { return l.addr }

// Members are the roles of members.
func Members() []pki.Role { return []pki.Role{pki.RoleServer, pki.RoleHost} }
