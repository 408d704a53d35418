package pki

import (
	"crypto/tls"
	"net"
	"testing"
	"time"
)

func testIdentity(t *testing.T, ca *CA, p Profile) *Identity {
	t.Helper()
	chain, key := testIssue(t, ca, p, testNow)
	keyPEM, err := EncodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	id, err := NewIdentity(chain, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func frozen() time.Time { return testNow.Add(time.Minute) }

// shake does one handshake and reports what either side says of it.
func shake(t *testing.T, server, client *tls.Config) (peer ID, serverErr, clientErr error) {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	done := make(chan error, 1)
	srv := tls.Server(a, server)
	go func() {
		err := srv.Handshake()
		if err == nil {
			_, err = srv.Write([]byte("x")) // TLS 1.3: the client learns of a refusal at its first read
		} else {
			a.Close()
		}
		done <- err
	}()
	cli := tls.Client(b, client)
	clientErr = cli.Handshake()
	if clientErr == nil {
		_, clientErr = cli.Read(make([]byte, 1))
	} else {
		b.Close()
	}
	serverErr = <-done
	peer, _ = PeerID(srv.ConnectionState())
	return peer, serverErr, clientErr
}

func TestTLSAcceptsOnlyTheRolesAllowed(t *testing.T) {
	t.Parallel()
	ca, stranger := testCA(t), testCA(t)
	both := func(role Role, name string) Profile {
		return Profile{ID: ID{Role: role, Name: name}, Lifetime: time.Hour, Server: true, Client: true}
	}
	host := testIdentity(t, ca, both(RoleHost, "h1"))
	server := ServerTLS(host, ca.Pool(), true, AllowRoles("demo", RoleHost, RoleUser), frozen)
	toHost := AllowRoles("demo", RoleHost)
	cases := []struct {
		name   string
		client *Identity
		ok     bool
	}{
		{"user", testIdentity(t, ca, both(RoleUser, "ann")), true},
		{"host", testIdentity(t, ca, both(RoleHost, "h2")), true},
		{"jail", testIdentity(t, ca, both(RoleJail, "web-1")), false},
		{"none", nil, false},
		{"another cluster's", testIdentity(t, stranger, both(RoleUser, "ann")), false},
		{"server use only", testIdentity(t, ca, Profile{ID: ID{Role: RoleUser, Name: "ann"}, Lifetime: time.Hour, Server: true}), false},
		{"expired", testIdentity(t, ca, Profile{ID: ID{Role: RoleUser, Name: "ann"}, Lifetime: time.Second, Client: true}), false},
	}
	for _, c := range cases {
		peer, serverErr, clientErr := shake(t, server, ClientTLS(c.client, ca.Pool(), toHost, frozen))
		if (serverErr == nil) != c.ok || (clientErr == nil) != c.ok {
			t.Errorf("client %s: server says %v, client says %v; want accepted %v", c.name, serverErr, clientErr, c.ok)
		}
		if c.ok && (peer.Role == "" || peer.Cluster != "demo") {
			t.Errorf("client %s: peer %v", c.name, peer)
		}
	}
}

func TestTLSClientRefusesServersThatAreNoHosts(t *testing.T) {
	t.Parallel()
	ca := testCA(t)
	jail := testIdentity(t, ca, jailProfile())
	server := ServerTLS(jail, ca.Pool(), false, AllowRoles("demo", RoleUser), frozen)
	if _, _, err := shake(t, server, ClientTLS(nil, ca.Pool(), AllowRoles("demo", RoleHost), frozen)); err == nil {
		t.Error("a jail's certificate passed for a host's")
	}
	if _, serverErr, err := shake(t, server, ClientTLS(nil, ca.Pool(), AllowRoles("demo", RoleJail), frozen)); err != nil || serverErr != nil {
		t.Errorf("no client certificate where none is needed: %v, %v", serverErr, err)
	}
	if _, _, err := shake(t, server, ClientTLS(nil, testCA(t).Pool(), AllowRoles("demo", RoleJail), frozen)); err == nil {
		t.Error("a server of another CA was accepted")
	}
}

func TestRenewedIdentityIsUsedWithoutRestart(t *testing.T) {
	t.Parallel()
	ca := testCA(t)
	id := testIdentity(t, ca, Profile{ID: ID{Role: RoleHost, Name: "h1"}, Lifetime: time.Second, Server: true})
	server := ServerTLS(id, ca.Pool(), false, AllowRoles("demo", RoleUser), frozen)
	client := ClientTLS(nil, ca.Pool(), AllowRoles("demo", RoleHost), frozen)
	if _, _, err := shake(t, server, client); err == nil {
		t.Fatal("an expired server was accepted")
	}
	chain, key := testIssue(t, ca, Profile{ID: ID{Role: RoleHost, Name: "h1"}, Lifetime: time.Hour, Server: true}, testNow)
	keyPEM, err := EncodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := id.Set(chain, keyPEM); err != nil {
		t.Fatal(err)
	}
	if _, _, err := shake(t, server, client); err != nil {
		t.Errorf("after the renewal: %v", err)
	}
}
