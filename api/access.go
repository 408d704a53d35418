package api

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
)

// The roles a peer can have.
const (
	RoleRoot   = "root"   // root on this host, over the local socket
	RoleAdmin  = "admin"  // an operator's certificate
	RoleReader = "reader" // may look, may not change
	RoleServer = "server" // a member that holds a vote
	RoleHost   = "host"   // a member without one
	RoleJail   = "jail"   // a jail's own certificate
)

// Roles lists all of them.
func Roles() []string {
	return []string{RoleRoot, RoleAdmin, RoleReader, RoleServer, RoleHost, RoleJail}
}

// access is what a route needs.
type access int

const (
	forAll   access = iota // any identity
	forRead                // look at the cluster
	forWrite               // change the wish
	forEnter               // run code in a jail or see its output
)

// rights says which role has which access. What is not here is refused.
var rights = map[string]map[access]bool{
	RoleRoot:   {forAll: true, forRead: true, forWrite: true, forEnter: true},
	RoleAdmin:  {forAll: true, forRead: true, forWrite: true, forEnter: true},
	RoleReader: {forAll: true, forRead: true},
	RoleServer: {forAll: true, forRead: true},
	RoleHost:   {forAll: true, forRead: true},
	RoleJail:   {forAll: true},
}

// Identify tells who asks. by goes into the log ("user/root"), role is one of
// Roles. An error means that the peer could not be authenticated.
type Identify func(r *http.Request) (by, role string, err error)

type peerKey struct{}

// peer is what the kernel says of the process at the other end of a socket.
type peer struct {
	uid int
	err error
}

// ConnContext remembers the peer of a local connection; Server.Serve uses it.
// The context is http.Server's own way to hand a connection's facts to its
// requests.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	uid, err := peerUID(u)
	return context.WithValue(ctx, peerKey{}, peer{uid, err})
}

// IdentifyLocal trusts the kernel's word on a local connection: root, and the
// user that the daemon itself runs as, have the root role.
func IdentifyLocal(r *http.Request) (by, role string, err error) {
	p, ok := r.Context().Value(peerKey{}).(peer)
	switch {
	case !ok:
		return "", "", errors.New("not a local connection")
	case p.err != nil:
		return "", "", fmt.Errorf("ask the kernel who is at the socket: %w", p.err)
	case p.uid == 0:
		return "user/root", RoleRoot, nil
	case p.uid == os.Geteuid():
		return fmt.Sprintf("user/uid-%d", p.uid), RoleRoot, nil
	}
	return "", "", fmt.Errorf("uid %d is neither root nor the daemon's user", p.uid)
}

// IdentifyTLS reads the identity from a verified client certificate with
// roleOf. The listener must demand and verify client certificates.
func IdentifyTLS(roleOf func(*x509.Certificate) (id, role string, err error)) Identify {
	return func(r *http.Request) (string, string, error) {
		if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 || len(r.TLS.VerifiedChains[0]) == 0 {
			return "", "", errors.New("no verified client certificate")
		}
		return roleOf(r.TLS.VerifiedChains[0][0])
	}
}

// IdentifyAny asks IdentifyLocal on local connections and overTLS on others.
// overTLS may be nil: then only local connections have an identity.
func IdentifyAny(overTLS Identify) Identify {
	return func(r *http.Request) (string, string, error) {
		if _, local := r.Context().Value(peerKey{}).(peer); local {
			return IdentifyLocal(r)
		}
		if overTLS == nil || r.TLS == nil {
			return "", "", errors.New("neither a local connection nor a client certificate")
		}
		return overTLS(r)
	}
}
