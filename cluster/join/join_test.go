package join

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rexcarcer/rexcarcer/pki"
)

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

func der(t testing.TB, ca *pki.CA) []byte {
	t.Helper()
	b, _ := pem.Decode(ca.CertPEM())
	return b.Bytes
}

// fake is a cluster with tokens.
type fake struct {
	ca     *pki.CA
	tokens map[string]Kept

	mu      sync.Mutex
	admits  []Request // guarded by mu
	refused []string  // guarded by mu
}

func (f *fake) Token(id string) (Kept, bool) { k, ok := f.tokens[id]; return k, ok }

func (f *fake) Admit(_ context.Context, r Request) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Name == "taken" {
		return errors.New("host taken: the name belongs to host h-1")
	}
	f.admits = append(f.admits, r)
	return nil
}

func (f *fake) Issue(r Request) (Answer, error) {
	chain, err := pki.Issue(f.ca, r.CSR, pki.Profile{ID: pki.ID{Role: pki.Role(r.Role), Name: r.Host}, Lifetime: time.Hour, Server: true, Client: true}, time.Now())
	return Answer{Cluster: f.ca.Cluster(), Role: r.Role, Chain: string(chain), CA: string(f.ca.CertPEM()), Peers: map[string]string{"h-1": "10.0.0.1:7370"}}, err
}

func (f *fake) Refused(_ context.Context, token, from, why string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refused = append(f.refused, token+": "+why)
}

// serve answers for f with a certificate of ca that has role.
func serve(t testing.TB, f *fake, ca *pki.CA, role pki.Role) (addr string, h *Handler, count func() int) {
	t.Helper()
	key, csr := newHost(t)
	chain, err := pki.Issue(ca, csr, pki.Profile{ID: pki.ID{Role: role, Name: "h-1"}, Lifetime: time.Hour, Server: true, Client: true}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	keyPEM, err := pki.EncodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.X509KeyPair(append(chain, ca.CertPEM()...), keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h = NewHandler(f, slog.New(slog.DiscardHandler), nil)
	var mu sync.Mutex
	var requests int
	s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		requests++
		mu.Unlock()
		h.ServeHTTP(w, r)
	})}
	conf := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, NextProtos: []string{"rexcarcer-join"}}
	go func() { _ = s.Serve(unwrapped{tls.NewListener(l, conf)}) }()
	t.Cleanup(func() { _ = s.Close(); h.Wait() })
	return l.Addr().String(), h, func() int { mu.Lock(); defer mu.Unlock(); return requests }
}

type unwrapped struct{ net.Listener }

func (u unwrapped) Accept() (net.Conn, error) {
	c, err := u.Listener.Accept()
	return &plain{c}, err
}

func newHost(t testing.TB) (crypto.Signer, []byte) {
	t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := pki.NewCSR(key, "joining")
	if err != nil {
		t.Fatal(err)
	}
	return key, csr
}

func newToken(t testing.TB, ca *pki.CA) Token {
	t.Helper()
	token, err := NewToken(der(t, ca), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func try(t testing.TB, addr string, token Token, r Request) (Answer, error) {
	t.Helper()
	key, csr := newHost(t)
	r.CSR = csr
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return Do(ctx, addr, token, r, key, time.Now)
}

func TestATokenReadsBackAndOthersDoNot(t *testing.T) {
	t.Parallel()
	token := newToken(t, newCA(t, "rc-join-1"))
	for _, s := range []string{token.String(), " " + strings.ToUpper(token.String()) + "\n"} {
		if got, err := Parse(s); err != nil || got != token {
			t.Errorf("Parse(%q) = %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "REX1", "REX2" + token.String()[4:], token.String()[:60], token.String() + "a", strings.Replace(token.String(), "-", "_", 1)} {
		if _, err := Parse(s); !errors.Is(err, ErrToken) {
			t.Errorf("Parse(%q): %v", s, err)
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		if got, err := Parse(rapid.String().Draw(rt, "text")); err == nil && got == (Token{}) {
			rt.Fatal("an empty token")
		}
	})
}

func TestATokenBuysACertificate(t *testing.T) {
	t.Parallel()
	ca := newCA(t, "rc-join-2")
	token := newToken(t, ca)
	f := &fake{ca: ca, tokens: map[string]Kept{token.ID: {Hash: token.Hash(), Role: "server"}}}
	addr, _, _ := serve(t, f, ca, pki.RoleServer)
	a, err := try(t, addr, token, Request{Host: "h-2", Name: "host2", Peer: "10.0.0.2:7370"})
	if err != nil {
		t.Fatal(err)
	}
	if a.Role != "server" || a.Cluster != "rc-join-2" || a.Peers["h-1"] == "" {
		t.Errorf("got %+v", a)
	}
	if _, err := try(t, addr, token, Request{Host: "h-3", Name: "taken", Peer: "10.0.0.2:7370"}); err == nil || !strings.Contains(err.Error(), "belongs to host h-1") {
		t.Errorf("a taken name: %v", err)
	}
}

// Case 28: stolen, expired, used, revoked, wrong role: one answer.
func TestATokenThatIsNotGoodGetsOneAnswer(t *testing.T) {
	t.Parallel()
	ca := newCA(t, "rc-join-3")
	good := newToken(t, ca)
	kept := Kept{Hash: good.Hash(), Role: "host"}
	wrong := good
	wrong.Secret = newToken(t, ca).Secret
	cases := []struct {
		name  string
		token Token
		kept  Kept
		role  string
		event string
	}{
		{"unknown", newToken(t, ca), kept, "", ""},
		{"wrong secret", wrong, kept, "", "the secret is wrong"},
		{"expired", good, Kept{Hash: kept.Hash, Role: "host", Ended: "it has expired"}, "", "it has expired"},
		{"used up", good, Kept{Hash: kept.Hash, Role: "host", Ended: "it is used up", UsedBy: []string{"h-8"}}, "", "it is used up"},
		{"wrong role", good, kept, "server", "it is for the role host, not for server"},
	}
	for _, c := range cases {
		f := &fake{ca: ca, tokens: map[string]Kept{good.ID: c.kept}}
		addr, h, _ := serve(t, f, ca, pki.RoleServer)
		_, err := try(t, addr, c.token, Request{Host: "h-9", Name: "host9", Role: c.role, Peer: "10.0.0.9:7370"})
		if err == nil || !strings.HasSuffix(err.Error(), ErrRefused.Error()) {
			t.Errorf("%s: got %v, want the one answer", c.name, err)
		}
		h.Wait()
		want := []string{}
		if c.event != "" {
			want = append(want, good.ID+": "+c.event)
		}
		f.mu.Lock()
		if fmt.Sprint(f.refused) != fmt.Sprint(want) || len(f.admits) != 0 {
			t.Errorf("%s: recorded %v, admitted %d; want %v, 0", c.name, f.refused, len(f.admits), want)
		}
		f.mu.Unlock()
	}
}

// Case 29: the secret does not leave for a stranger.
func TestAManInTheMiddleGetsNoSecret(t *testing.T) {
	t.Parallel()
	ca, evil := newCA(t, "rc-join-4"), newCA(t, "rc-join-4")
	token := newToken(t, ca)
	f := &fake{ca: evil, tokens: map[string]Kept{token.ID: {Hash: token.Hash(), Role: "server"}}}
	stranger, _, seen := serve(t, f, evil, pki.RoleServer)
	if _, err := try(t, stranger, token, Request{Host: "h-2", Name: "host2", Peer: "10.0.0.2:7370"}); !errors.Is(err, ErrOther) || seen() != 0 {
		t.Errorf("another CA: %v, %d requests", err, seen())
	}
	// A member that is no server, and a jail, are strangers too.
	for _, role := range []pki.Role{pki.RoleHost, pki.RoleJail} {
		addr, _, seen := serve(t, f, ca, role)
		if _, err := try(t, addr, token, Request{Host: "h-2", Name: "host2", Peer: "10.0.0.2:7370"}); !errors.Is(err, ErrOther) || seen() != 0 {
			t.Errorf("role %s: %v, %d requests", role, err, seen())
		}
	}
}

func TestACertificateForSomebodyElseIsNotTaken(t *testing.T) {
	t.Parallel()
	ca := newCA(t, "rc-join-5")
	key, csr := newHost(t)
	other, _ := newHost(t)
	f := &fake{ca: ca}
	a, err := f.Issue(Request{Role: "host", Host: "h-2", CSR: csr})
	if err != nil {
		t.Fatal(err)
	}
	root, err := pki.ParseChain(ca.CertPEM())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		r   Request
		key crypto.Signer
		ok  bool
	}{
		"own":           {Request{Host: "h-2"}, key, true},
		"another's id":  {Request{Host: "h-3"}, key, false},
		"another's key": {Request{Host: "h-2"}, other, false},
	} {
		if err := a.check(root[0], c.r, c.key, time.Now()); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTriesAreLimited(t *testing.T) {
	t.Parallel()
	h := NewHandler(&fake{}, slog.New(slog.DiscardHandler), nil)
	var ok int
	for range 1000 {
		if h.allowed("10.0.0.1") {
			ok++
		}
	}
	if ok < burstSource || ok > burstSource+20 {
		t.Errorf("%d tries of one address passed, want about %d", ok, burstSource)
	}
	if !h.allowed("10.0.0.2") {
		t.Error("another address is held up")
	}
	var all int
	for i := range 10 * maxSources {
		if h.allowed(fmt.Sprint(i)) {
			all++
		}
	}
	if all > burstServer+500 || len(h.sources) > maxSources {
		t.Errorf("%d tries of many addresses passed, %d are remembered", all, len(h.sources))
	}
}
