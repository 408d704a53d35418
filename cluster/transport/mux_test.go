package transport

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rexcarcer/rexcarcer/pki"
)

// newCA makes a CA for cluster.
func newCA(t testing.TB, cluster string) *pki.CA {
	t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	ca, err := pki.NewCA(cluster, key, time.Now(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// member is a Config with a certificate of ca.
func member(t testing.TB, ca *pki.CA, role pki.Role, name string) Config {
	t.Helper()
	id := &pki.Identity{}
	renew(t, ca, id, role, name)
	return Config{Cluster: ca.Cluster(), Identity: id, Roots: ca.Pool, Clock: time.Now, Log: slog.New(slog.DiscardHandler)}
}

func renew(t testing.TB, ca *pki.CA, id *pki.Identity, role pki.Role, name string) {
	t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := pki.NewCSR(key, name)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := pki.Issue(ca, csr, pki.Profile{ID: pki.ID{Role: role, Name: name}, Lifetime: time.Hour, Server: true, Client: true}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	text, err := pki.EncodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := id.Set(chain, text); err != nil {
		t.Fatal(err)
	}
}

// serve runs a Mux of cfg with the usual protocols; what it accepts is echoed.
func serve(t testing.TB, cfg Config) *Mux {
	t.Helper()
	m, err := Listen("127.0.0.1:0", cfg,
		Protocol{Name: RaftProtocol(0), Roles: []pki.Role{pki.RoleServer}},
		Protocol{Name: RPC, Roles: Members()}, Protocol{Name: Sync, Roles: Members()}, Protocol{Name: Join})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	for name := range m.protocols {
		go echo(m.Listener(name))
	}
	return m
}

func echo(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			_, _ = io.Copy(c, c)
			_ = c.Close()
		}()
	}
}

// talk sends a word and wants it back: TLS 1.3 tells a refused client only
// when it reads.
func talk(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("ping")); err != nil {
		return err
	}
	b := make([]byte, 4)
	if _, err := io.ReadFull(c, b); err != nil {
		return err
	}
	return nil
}

func dial(t testing.TB, cfg Config, protocol, id string, m *Mux) error {
	t.Helper()
	c, err := NewDialer(cfg).Dial(t.Context(), protocol, id, m.Addr().String())
	if err != nil {
		return err
	}
	defer c.Close()
	return talk(c)
}

// Case 31 of the failures: who may open which stream.
func TestARoleOpensOnlyItsProtocols(t *testing.T) {
	t.Parallel()
	ca, other := newCA(t, "rc-one"), newCA(t, "rc-one")
	m := serve(t, member(t, ca, pki.RoleServer, "h-1"))
	for _, c := range []struct {
		who      Config
		name     string
		protocol string
		ok       bool
	}{
		{member(t, ca, pki.RoleServer, "h-2"), "a server", RaftProtocol(0), true},
		{member(t, ca, pki.RoleServer, "h-2"), "a server", RPC, true},
		{member(t, ca, pki.RoleServer, "h-2"), "a server of an older generation", RaftProtocol(1), false},
		{member(t, ca, pki.RoleServer, "h-2"), "a server", "h2", false},
		{member(t, ca, pki.RoleHost, "h-3"), "a host", RaftProtocol(0), false},
		{member(t, ca, pki.RoleHost, "h-3"), "a host", RPC, true},
		{member(t, ca, pki.RoleHost, "h-3"), "a host", Sync, true},
		{member(t, ca, pki.RoleJail, "web-1"), "a jail", RaftProtocol(0), false},
		{member(t, ca, pki.RoleJail, "web-1"), "a jail", RPC, false},
		{member(t, ca, pki.RoleUser, "admin"), "a user", RaftProtocol(0), false},
		{member(t, ca, pki.RoleUser, "admin"), "a user", RPC, false},
	} {
		if err := dial(t, c.who, c.protocol, "h-1", m); (err == nil) != c.ok {
			t.Errorf("%s opens %s: got %v, want success %v", c.name, c.protocol, err, c.ok)
		}
	}
	stranger := member(t, other, pki.RoleServer, "h-2")
	stranger.Roots = ca.Pool // it trusts us; we do not trust it
	if err := dial(t, stranger, RPC, "h-1", m); err == nil {
		t.Error("a certificate of another CA opened a stream")
	}
	nobody := Config{Cluster: ca.Cluster(), Roots: ca.Pool, Clock: time.Now}
	if err := dial(t, nobody, RaftProtocol(0), "h-1", m); err == nil {
		t.Error("nobody opened a raft stream")
	}
	if err := dial(t, nobody, Join, "h-1", m); err != nil {
		t.Errorf("nobody joins: %v", err)
	}
}

func TestADialReachesTheMemberThatWasMeant(t *testing.T) {
	t.Parallel()
	ca := newCA(t, "rc-two")
	m := serve(t, member(t, ca, pki.RoleServer, "h-1"))
	me := member(t, ca, pki.RoleServer, "h-2")
	if err := dial(t, me, RPC, "h-9", m); err == nil || !strings.Contains(err.Error(), "not host h-9") {
		t.Errorf("got %v, want a complaint that h-9 does not answer there", err)
	}
	layer := NewRaftLayer(m.Listener(RaftProtocol(0)), NewDialer(me), RaftProtocol(0), "10.0.0.1:7370")
	for address, ok := range map[string]bool{"h-1@" + m.Addr().String(): true, m.Addr().String(): true, "h-9@" + m.Addr().String(): false} {
		c, err := layer.Dial(raft.ServerAddress(address), 10*time.Second)
		if (err == nil) != ok {
			t.Errorf("raft dials %s: got %v, want success %v", address, err, ok)
		}
		if err == nil {
			_ = c.Close()
		}
	}
	if got := layer.Addr().String(); got != "10.0.0.1:7370" {
		t.Errorf("advertised %s", got)
	}
}

func TestARemovedHostIsRefusedOnBothEnds(t *testing.T) {
	t.Parallel()
	ca := newCA(t, "rc-three")
	out := func(id pki.ID) error {
		if id.Name == "h-2" {
			return errors.New("h-2 was removed")
		}
		return nil
	}
	one, two := member(t, ca, pki.RoleServer, "h-1"), member(t, ca, pki.RoleServer, "h-2")
	one.Denied = out
	if err := dial(t, two, RPC, "h-1", serve(t, one)); err == nil {
		t.Error("a removed host got in")
	}
	if err := dial(t, one, RPC, "h-2", serve(t, two)); err == nil || !strings.Contains(err.Error(), "was removed") {
		t.Errorf("a removed host was called: %v", err)
	}
}

// Case 26: renewal under traffic.
func TestARenewalBreaksNoConnection(t *testing.T) {
	t.Parallel()
	ca := newCA(t, "rc-four")
	server := member(t, ca, pki.RoleServer, "h-1")
	m := serve(t, server)
	me := member(t, ca, pki.RoleServer, "h-2")
	old, err := NewDialer(me).Dial(t.Context(), RPC, "h-1", m.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	for range 20 {
		renew(t, ca, server.Identity, pki.RoleServer, "h-1")
		renew(t, ca, me.Identity, pki.RoleServer, "h-2")
		if err := talk(old); err != nil {
			t.Fatalf("the old connection: %v", err)
		}
		if err := dial(t, me, RPC, "h-1", m); err != nil {
			t.Fatalf("a new connection: %v", err)
		}
	}
}

// Case 61 in small: who connects and says nothing holds up nobody.
func TestSilentConnectionsHoldUpNobody(t *testing.T) {
	t.Parallel()
	ca := newCA(t, "rc-five")
	m := serve(t, member(t, ca, pki.RoleServer, "h-1"))
	for range 64 {
		c, err := net.Dial("tcp", m.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	if err := dial(t, member(t, ca, pki.RoleHost, "h-2"), RPC, "h-1", m); err != nil {
		t.Error(err)
	}
}

func TestRequestsKnowWhoSentThem(t *testing.T) {
	t.Parallel()
	ca := newCA(t, "rc-six")
	m, err := Listen("127.0.0.1:0", member(t, ca, pki.RoleServer, "h-1"), Protocol{Name: RPC, Roles: Members()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	defer func() { cancel(); <-done }()
	s := &http.Server{ConnContext: ConnContext, ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, _ := Peer(r.Context())
		_, _ = io.WriteString(w, id.String())
	})}
	go func() { _ = s.Serve(m.Listener(RPC)) }()
	defer s.Close()
	trip := NewDialer(member(t, ca, pki.RoleHost, "h-2")).RoundTripper(RPC, func(id string) (string, bool) { return m.Addr().String(), id == "h-1" })
	defer trip.CloseIdleConnections()
	client := &http.Client{Transport: trip}
	res, err := client.Get("http://h-1/")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, _ := io.ReadAll(res.Body); string(b) != "spiffe://rc-six/host/h-2" {
		t.Errorf("the server saw %s", b)
	}
	if _, err := client.Get("http://h-7/"); !errors.Is(err, ErrNoAddress) {
		t.Errorf("a member without an address: %v", err)
	}
}
