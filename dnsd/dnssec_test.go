package dnsd

import (
	"crypto/elliptic"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/rexcarcer/rexcarcer/internal/testenv"
)

func signedHandler(tb testing.TB) (*Handler, *Signer) {
	tb.Helper()
	s, err := LoadSigner(filepath.Join(tb.TempDir(), "dns.key"))
	if err != nil {
		tb.Fatal(err)
	}
	h := localHandler(tb)
	h.Sign(s)
	return h, s
}

func TestKeyIsMadeOnceAndKept(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "dns.key")
	first, err := LoadSigner(path)
	if err != nil {
		t.Fatal(err)
	}
	second, err := LoadSigner(path)
	if err != nil || first.Anchor("rex.internal") != second.Anchor("rex.internal") || first.key.Curve != elliptic.P256() {
		t.Errorf("%v: %s, then %s", err, first.Anchor("rex.internal"), second.Anchor("rex.internal"))
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	for _, bad := range []string{"", "no key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"} {
		if _, err := LoadSigner(writeFile(t, filepath.Join(t.TempDir(), "bad"), bad)); err == nil {
			t.Errorf("%q is taken for a key", bad)
		}
	}
}

// TestSignaturesHold checks what a validator would, by the key alone.
func TestSignaturesHold(t *testing.T) {
	t.Parallel()
	h, s := signedHandler(t)
	for _, c := range []struct {
		name string
		typ  uint16
		zone string
		want int // records beside signatures in the answer
	}{
		{"db.prod.rex.internal.", dns.TypeA, "rex.internal.", 1}, {"DB.prod.rex.Internal.", dns.TypeAAAA, "rex.internal.", 1},
		{"web.prod.rex.internal.", dns.TypeA, "rex.internal.", 3}, {"_web._tcp.prod.rex.internal.", dns.TypeSRV, "rex.internal.", 3},
		{"rex.internal.", dns.TypeSOA, "rex.internal.", 1}, {"rex.internal.", dns.TypeNS, "rex.internal.", 1}, {"rex.internal.", dns.TypeDNSKEY, "rex.internal.", 1},
		{"20.0.66.10.in-addr.arpa.", dns.TypePTR, "0.66.10.in-addr.arpa.", 1}, {"docs.example.org.", dns.TypeA, "docs.example.org.", 1},
		{"nope.rex.internal.", dns.TypeA, "rex.internal.", 0}, {"db.prod.rex.internal.", dns.TypeMX, "rex.internal.", 0}, {"prod.rex.internal.", dns.TypeA, "rex.internal.", 0},
	} {
		for range 2 { // made, then kept
			reply, _ := ask(t, h, query(c.name, c.typ).SetEdns0(4096, true), inside, false)
			sets := map[string][]dns.RR{}
			var sigs []*dns.RRSIG
			for _, rr := range slices.Concat(reply.Answer, reply.Ns) {
				if sig, ok := rr.(*dns.RRSIG); ok {
					sigs = append(sigs, sig)
					continue
				}
				key := strings.ToLower(rr.Header().Name) + dns.TypeToString[rr.Header().Rrtype]
				sets[key] = append(sets[key], rr)
			}
			if reply.Rcode != 0 || len(sigs) != len(sets) || len(sets) == 0 {
				t.Fatalf("%s %s: %v", c.name, dns.TypeToString[c.typ], reply)
			}
			for _, sig := range sigs {
				set := sets[strings.ToLower(sig.Hdr.Name)+dns.TypeToString[sig.TypeCovered]]
				if err := sig.Verify(s.dnskey(c.zone), set); err != nil || !sig.ValidityPeriod(time.Now()) {
					t.Errorf("%s %s: %v: %v", c.name, dns.TypeToString[c.typ], err, sig)
				}
			}
			if n := len(reply.Answer); c.want == 0 && n > 0 || c.want > 0 && n != c.want+1 {
				t.Errorf("%s %s: %v", c.name, dns.TypeToString[c.typ], reply.Answer)
			}
		}
	}
	if reply, _ := ask(t, h, query("db.prod.rex.internal.", dns.TypeA), inside, true); len(reply.Answer) != 1 {
		t.Errorf("who does not ask for signatures gets %v", reply)
	}
	if reply, _ := ask(t, h, query("_many._tcp.prod.rex.internal.", dns.TypeSRV).SetEdns0(4096, true), inside, true); !reply.Truncated {
		t.Errorf("too long for UDP, but whole")
	}
}

func validatorConf(dir string, port, primary uint16, anchor string) string {
	return fmt.Sprintf(`server:
	interface: 127.0.0.1
	port: %d
	do-ip6: no
	username: ""
	chroot: ""
	directory: %q
	pidfile: ""
	use-syslog: no
	logfile: ""
	verbosity: 1
	do-not-query-localhost: no
	module-config: "validator iterator"
	trust-anchor: %q
remote-control:
	control-enable: no
stub-zone:
	name: rex.internal
	stub-addr: 127.0.0.1@%d
	stub-prime: no
`, port, dir, anchor, primary)
}

// validated asks a validating resolver until it answers.
func validated(t *testing.T, server netip.AddrPort, name string, typ uint16) *dns.Msg {
	t.Helper()
	deadline := time.Now().Add(90 * time.Second)
	for {
		client := dns.Client{Timeout: 5 * time.Second}
		reply, _, err := client.Exchange(query(name, typ).SetEdns0(1232, true), server.String())
		if err == nil {
			return reply
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		<-time.After(50 * time.Millisecond)
	}
}

func TestRealValidatorTrustsTheZone(t *testing.T) {
	t.Parallel()
	unbound, nsd := testenv.RequireTool(t, "unbound"), testenv.RequireTool(t, "nsd")
	h, s := signedHandler(t)
	key, err := ParseKey("peer.key:" + testSecret)
	if err != nil {
		t.Fatal(err)
	}
	h.AllowTransfers([]Peer{{Net: netip.MustParsePrefix("127.0.0.1/32"), Key: key.Name}}, []Key{key})
	primary := startServer(t, h, nil).Port()
	other, err := LoadSigner(filepath.Join(t.TempDir(), "other.key"))
	if err != nil {
		t.Fatal(err)
	}
	secondary := freePort(t)
	nsdDir := t.TempDir()
	startProgram(t, nsd, "-d", "-c", writeFile(t, filepath.Join(nsdDir, "nsd.conf"), nsdConf(nsdDir, secondary, primary)))
	awaitAnswer(t, netip.AddrPortFrom(loopback.Addr(), secondary), "db.prod.rex.internal.", dns.TypeA, "10.66.0.20")
	for _, c := range []struct {
		what   string
		server uint16
		anchor string
		good   bool
	}{
		{"the daemon", primary, s.Anchor("rex.internal"), true},
		{"a secondary", secondary, s.Anchor("rex.internal"), true},
		{"the daemon, by another key's anchor", primary, other.Anchor("rex.internal"), false},
	} {
		dir, port := t.TempDir(), freePort(t)
		startProgram(t, unbound, "-d", "-c", writeFile(t, filepath.Join(dir, "unbound.conf"), validatorConf(dir, port, c.server, c.anchor)))
		resolver := netip.AddrPortFrom(loopback.Addr(), port)
		for name, typ := range map[string]uint16{
			"db.prod.rex.internal.": dns.TypeA, "_web._tcp.prod.rex.internal.": dns.TypeSRV, "web-1.prod.rex.internal.": dns.TypeMX,
			"nope.prod.rex.internal.": dns.TypeA, "prod.rex.internal.": dns.TypeTXT, "zz.rex.internal.": dns.TypeA,
		} {
			reply := validated(t, resolver, name, typ)
			if good := reply.AuthenticatedData && reply.Rcode != dns.RcodeServerFailure; good != c.good {
				t.Errorf("asking %s for %s %s: %v", c.what, name, dns.TypeToString[typ], reply)
			}
		}
	}
}

func TestDelvFollowsTheSignatures(t *testing.T) {
	t.Parallel()
	delv := testenv.RequireTool(t, "delv")
	h, s := signedHandler(t)
	server := startServer(t, h, nil)
	anchors := writeFile(t, filepath.Join(t.TempDir(), "anchors"), fmt.Sprintf("trust-anchors { rex.internal. static-key 257 3 13 %q; };\n", s.public))
	for name, want := range map[string]string{"db.prod.rex.internal": "; fully validated", "nope.prod.rex.internal": "; negative response, fully validated"} {
		out, err := exec.Command(delv, "@127.0.0.1", "-p", fmt.Sprint(server.Port()), "-a", anchors, "+root=rex.internal", name, "A").CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("delv %s: %v\n%s", name, err, out)
		}
	}
}
