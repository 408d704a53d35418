package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/dnsd"
	"github.com/rexcarcer/rexcarcer/internal/testenv"
)

// startUnbound runs one that is controlled by a socket, until stop or the end
// of the test.
func startUnbound(t *testing.T) (conf string, port int, start func() (stop func())) {
	t.Helper()
	unbound := testenv.RequireTool(t, "unbound")
	testenv.RequireTool(t, "unbound-control")
	dir := t.TempDir()
	port, err := testenv.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	conf = filepath.Join(dir, "unbound.conf")
	text := fmt.Sprintf("server:\n\tinterface: 127.0.0.1\n\tport: %d\n\tdo-ip6: no\n\tusername: \"\"\n\tchroot: \"\"\n\tpidfile: \"\"\n\tdirectory: %q\n\tuse-syslog: no\n\tmodule-config: \"iterator\"\n"+
		"remote-control:\n\tcontrol-enable: yes\n\tcontrol-use-cert: no\n\tcontrol-interface: %s/control\n", port, dir, dir)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return conf, port, func() func() {
		var out bytes.Buffer
		cmd := exec.Command(unbound, "-d", "-c", conf)
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := false
		stop := func() {
			if ended {
				return
			}
			ended = true
			_ = cmd.Process.Kill() // it has nothing to lose
			_ = cmd.Wait()
			if t.Failed() {
				t.Logf("unbound said:\n%s", out.String())
			}
		}
		t.Cleanup(stop)
		return stop
	}
}

// dug polls the server on port until name has want, "" for none.
func dug(t *testing.T, port int, name, typ, want string) {
	t.Helper()
	dig := testenv.RequireTool(t, "dig")
	deadline := time.Now().Add(90 * time.Second)
	for {
		out, err := exec.Command(dig, "@127.0.0.1", "-p", fmt.Sprint(port), "+short", "+tries=1", "+time=2", "+norecurse", name, typ).CombinedOutput()
		got := strings.Join(strings.Fields(string(out)), " ")
		if err == nil && got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s %s: %q (%v), want %q", name, typ, got, err, want)
		}
		<-time.After(50 * time.Millisecond)
	}
}

func TestUnboundAnswersWhatItIsGiven(t *testing.T) {
	t.Parallel()
	conf, port, start := startUnbound(t)
	stop := start()
	d := &daemon{log: slog.New(slog.DiscardHandler), names: dnsd.NewHandler(nil, nil)}
	host := func(ip string) []dnsd.Record {
		return []dnsd.Record{{Name: "web-1.lab.rex.internal", Type: "A", TTL: 30, Addr: netip.MustParseAddr(ip)}}
	}
	d.names.SetZone(dnsd.NewZone(&dnsd.Table{
		Domain: "rex.internal", Serial: 1, Reverse: []netip.Prefix{netip.MustParsePrefix("10.66.0.0/24")}, NS: []netip.Addr{netip.MustParseAddr("10.66.0.1")},
		Records: append(host("10.66.0.5"),
			dnsd.Record{Name: "5.0.66.10.in-addr.arpa", Type: "PTR", TTL: 30, Target: "web-1.lab.rex.internal"},
			dnsd.Record{Name: "_web._tcp.lab.rex.internal", Type: "SRV", TTL: 5, Target: "web-1.lab.rex.internal", Port: 80}),
	}))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.feedUnbound(ctx, conf) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	dug(t, port, "web-1.lab.rex.internal", "A", "10.66.0.5")
	dug(t, port, "5.0.66.10.in-addr.arpa", "PTR", "web-1.lab.rex.internal.")
	dug(t, port, "_web._tcp.lab.rex.internal", "SRV", "0 1 80 web-1.lab.rex.internal.")
	d.names.SetZone(d.names.Zone().With(2, []dnsd.Set{
		{Name: "web-1.lab.rex.internal", Type: "A", Records: host("10.66.0.6")},
		{Name: "_web._tcp.lab.rex.internal", Type: "SRV"},
	}))
	dug(t, port, "web-1.lab.rex.internal", "A", "10.66.0.6")
	dug(t, port, "_web._tcp.lab.rex.internal", "SRV", "")
	stop() // it forgets everything
	start()
	dug(t, port, "web-1.lab.rex.internal", "A", "10.66.0.6")
	dug(t, port, "5.0.66.10.in-addr.arpa", "PTR", "web-1.lab.rex.internal.")
}

func TestOptionsOfSecondaries(t *testing.T) {
	dir := t.TempDir()
	keys := filepath.Join(dir, "keys")
	const key = "# for the office\npeer.key:c2l4dGVlbiBieXRlcyBhbmQgbW9yZQ==\nhmac-sha512:Other:c2l4dGVlbiBieXRlcyBhbmQgbW9yZQ==\n"
	if err := os.WriteFile(keys, []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := parse(t, "-dns-keys", keys, "-dns-transfer", "192.0.2.1=peer.key", "-dns-transfer", "198.51.100.77/24", "-dns-notify", "192.0.2.1=other", "-dns-notify", "[2001:db8::1]:5353")
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(o.DNS.Peers, o.DNS.Targets, len(o.DNS.Keys)); got != "[{192.0.2.1/32 peer.key.} {198.51.100.0/24 }] [{192.0.2.1:53 other.} {[2001:db8::1]:5353 }] 2" {
		t.Error(got)
	}
	open := filepath.Join(dir, "open")
	bad := filepath.Join(dir, "bad")
	for path, mode := range map[string]os.FileMode{open: 0o644, bad: 0o600} {
		if err := os.WriteFile(path, []byte("hmac-md5:x:c2l4dGVlbiBieXRlcyBhbmQgbW9yZQ==\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ want, flag, value string }{
		{"no key peer.key", "-dns-transfer", "192.0.2.1=peer.key"}, {"want ADDRESS[/LENGTH]", "-dns-transfer", "ns.example.org"},
		{"want ADDRESS[:PORT]", "-dns-notify", "ns.example.org"}, {"chmod 600", "-dns-keys", open}, {"bad:1: key x", "-dns-keys", bad},
		{"no such file", "-dns-keys", filepath.Join(dir, "none")},
	} {
		if _, err := parse(t, c.flag, c.value); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: %v, want %s", c.flag, c.value, err, c.want)
		}
	}
}
