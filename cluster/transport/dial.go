package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rexcarcer/rexcarcer/internal/bulk"
	"github.com/rexcarcer/rexcarcer/pki"
)

// Dialer is the calling end.
type Dialer struct{ cfg Config }

// NewDialer calls as cfg.Identity.
func NewDialer(cfg Config) *Dialer { return &Dialer{cfg} }

// Dial opens a connection of a protocol to the member id at addr. With id ""
// any member will do.
func (d *Dialer) Dial(ctx context.Context, protocol, id, addr string) (*tls.Conn, error) {
	member := d.cfg.allow(Members()...)
	conf := pki.ClientTLS(d.cfg.Identity, d.cfg.Roots(), func(peer pki.ID) error {
		if err := member(peer); err != nil {
			return err
		}
		if id != "" && peer.Name != id {
			return fmt.Errorf("%s answers there, not host %s", peer, id)
		}
		return nil
	}, d.cfg.Clock)
	pki.AlsoCheck(conf, d.cfg.Check)
	conf.NextProtos = []string{protocol}
	c, err := (&net.Dialer{Timeout: handshakeTime}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("reach host %s: %w", id, err)
	}
	wide := bulk.Wrap(c)
	if protocol == Sync {
		wide.ReadAhead()
	}
	t := tls.Client(wide, conf)
	shaking, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	if err := t.HandshakeContext(shaking); err != nil {
		return nil, errors.Join(fmt.Errorf("reach host %s at %s: %w", id, addr, err), c.Close())
	}
	return t, nil
}

// RaftLayer puts raft on the port. Its addresses are ID@HOST:PORT, so that a
// dial reaches the member that was meant; plain HOST:PORT reaches any member.
type RaftLayer struct {
	net.Listener
	dialer    *Dialer
	protocol  string
	advertise string
}

var _ raft.StreamLayer = (*RaftLayer)(nil)

// NewRaftLayer serves l and dials protocol. advertise is HOST:PORT of this member.
func NewRaftLayer(l net.Listener, d *Dialer, protocol, advertise string) *RaftLayer {
	return &RaftLayer{l, d, protocol, advertise}
}

// Dial implements raft.StreamLayer.
func (r *RaftLayer) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	id, addr, found := strings.Cut(string(address), "@")
	if !found {
		id, addr = "", string(address)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return r.dialer.Dial(ctx, r.protocol, id, addr)
}

// Addr implements net.Listener with the address that others use.
func (r *RaftLayer) Addr() net.Addr { return peerAddr(r.advertise) }

type peerAddr string

// Network implements net.Addr.
func (peerAddr) Network() string { return "tcp" }

// String implements net.Addr.
func (a peerAddr) String() string { return string(a) }

// ErrNoAddress says that nobody knows where a member is.
var ErrNoAddress = errors.New("its address is not known")

// RoundTripper speaks HTTP to members over protocol: the URL's host is a
// member's id (http://h-01abc/path), find says where that one is. The
// connections are encrypted though the scheme is http. The caller closes idle
// connections.
func (d *Dialer) RoundTripper(protocol string, find func(id string) (addr string, ok bool)) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, hostport string) (net.Conn, error) {
			id, _, err := net.SplitHostPort(hostport)
			if err != nil {
				return nil, err
			}
			addr, ok := find(id)
			if !ok {
				return nil, fmt.Errorf("reach host %s: %w", id, ErrNoAddress)
			}
			return d.Dial(ctx, protocol, id, addr)
		},
		MaxIdleConnsPerHost:   256,
		IdleConnTimeout:       time.Minute,
		ResponseHeaderTimeout: 0, // each request has its own context
		DisableCompression:    true,
	}
}

type peerKey struct{}

// ConnContext keeps who is at the other end for http.Server.ConnContext.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	t, ok := c.(*conn)
	if !ok {
		return ctx
	}
	id, err := pki.PeerID(t.ConnectionState())
	if err != nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, id)
}

// Peer is who sent a request that came over ConnContext.
func Peer(ctx context.Context) (pki.ID, bool) {
	id, ok := ctx.Value(peerKey{}).(pki.ID)
	return id, ok
}
