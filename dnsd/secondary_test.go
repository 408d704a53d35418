package dnsd

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rexcarcer/rexcarcer/internal/testenv"
)

// startProgram runs argv until the test ends; what it said is shown if it failed.
func startProgram(t *testing.T, argv ...string) {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
		ended := make(chan struct{})
		go func() {
			_ = cmd.Wait() // how it ends is of no interest
			close(ended)
		}()
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("%s said:\n%s", argv[0], out.String())
		}
	})
}

func writeFile(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func freePort(t *testing.T) uint16 {
	t.Helper()
	port, err := testenv.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return uint16(port)
}

// counted is the value of the counter with label.
func counted(t *testing.T, reg *prometheus.Registry, name, label string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.Metric {
			if family.GetName() == name && len(metric.Label) == 1 && metric.Label[0].GetValue() == label {
				return metric.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// nsdConf is a secondary of 127.0.0.1 for two zones.
func nsdConf(dir string, port, primary uint16) string {
	conf := fmt.Sprintf(`server:
	ip-address: 127.0.0.1@%d
	username: ""
	pidfile: %[2]s/nsd.pid
	database: ""
	xfrdfile: %[2]s/xfrd.state
	xfrdir: %[2]s
	zonesdir: %[2]s
	zonelistfile: %[2]s/zone.list
	verbosity: 2
remote-control:
	control-enable: no
key:
	name: "peer.key"
	algorithm: hmac-sha256
	secret: "%[3]s"
`, port, dir, testSecret)
	for _, zone := range []string{"rex.internal", "0.66.10.in-addr.arpa"} {
		conf += fmt.Sprintf("zone:\n\tname: %s\n\tzonefile: %s.zone\n\trequest-xfr: 127.0.0.1@%d peer.key\n\tallow-notify: 127.0.0.1 peer.key\n", zone, zone, primary)
	}
	return conf
}

// unboundConf serves rex.internal from a copy. unbound knows no TSIG for that.
func unboundConf(dir string, port, primary uint16) string {
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
	local-zone: "66.10.in-addr.arpa." nodefault
remote-control:
	control-enable: no
auth-zone:
	name: rex.internal
	primary: 127.0.0.1@%d
	allow-notify: 127.0.0.1
	for-downstream: yes
	for-upstream: yes
`, port, dir, primary)
}

// awaitAnswer polls server until name has exactly want, sorted, or none.
func awaitAnswer(t *testing.T, server netip.AddrPort, name string, typ uint16, want string) {
	t.Helper()
	deadline := time.Now().Add(90 * time.Second)
	for {
		client := dns.Client{Timeout: 2 * time.Second}
		reply, _, err := client.Exchange(query(name, typ), server.String())
		got := fmt.Sprint(err)
		if err == nil {
			var data []string
			for _, rr := range reply.Answer {
				data = append(data, strings.TrimPrefix(rr.String(), rr.Header().String()))
			}
			if got = strings.Join(data, " "); got == "" {
				got = dns.RcodeToString[reply.Rcode]
			}
		}
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s %s at %s: %s, want %s", name, dns.TypeToString[typ], server, got, want)
		}
		<-time.After(50 * time.Millisecond)
	}
}

func TestRealSecondariesFollowTheZone(t *testing.T) {
	t.Parallel()
	nsd, unbound := testenv.RequireTool(t, "nsd"), testenv.RequireTool(t, "unbound")
	h, key := transferHandler(t)
	reg := prometheus.NewRegistry()
	h.metrics = NewMetrics(reg)
	h.peers = append(h.peers, Peer{Net: netip.MustParsePrefix("127.0.0.1/32")}) // unbound
	primary := startServer(t, h, nil)
	dir := t.TempDir()
	nsdPort, unboundPort := freePort(t), freePort(t)
	startProgram(t, nsd, "-d", "-c", writeFile(t, filepath.Join(dir, "nsd.conf"), nsdConf(dir, nsdPort, primary.Port())))
	startProgram(t, unbound, "-d", "-c", writeFile(t, filepath.Join(dir, "unbound.conf"), unboundConf(dir, unboundPort, primary.Port())))
	asNSD, asUnbound := netip.AddrPortFrom(loopback.Addr(), nsdPort), netip.AddrPortFrom(loopback.Addr(), unboundPort)
	secondaries := []netip.AddrPort{asNSD, asUnbound}
	for _, s := range secondaries {
		awaitAnswer(t, s, "db.prod.rex.internal.", dns.TypeA, "10.66.0.20")
		awaitAnswer(t, s, "_web._tcp.prod.rex.internal.", dns.TypeMX, "NOERROR")
		awaitAnswer(t, s, "new.prod.rex.internal.", dns.TypeA, "NXDOMAIN")
	}
	awaitAnswer(t, asNSD, "20.0.66.10.in-addr.arpa.", dns.TypePTR, "db.prod.rex.internal.")

	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Notify(ctx, []Target{{asNSD, key.Name}, {asUnbound, ""}}, quiet) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	change := func(name, ip string) {
		set := Set{Name: name, Type: "A"}
		if ip != "" {
			set.Records = []Record{{Name: name, Type: "A", TTL: 5, Addr: addr(ip)}}
		}
		h.SetZone(h.Zone().With(h.Zone().Serial()+7, []Set{set}))
	}
	change("new.prod.rex.internal", "10.66.0.77")
	for _, s := range secondaries {
		awaitAnswer(t, s, "new.prod.rex.internal.", dns.TypeA, "10.66.0.77")
	}
	h.SetZone(h.Zone().WithSerial(h.Zone().Serial() + 3)) // entries that change no record
	change("db.prod.rex.internal", "10.66.0.21")
	change("new.prod.rex.internal", "")
	for _, s := range secondaries {
		awaitAnswer(t, s, "db.prod.rex.internal.", dns.TypeA, "10.66.0.21")
		awaitAnswer(t, s, "new.prod.rex.internal.", dns.TypeA, "NXDOMAIN")
		awaitAnswer(t, s, "web-1.prod.rex.internal.", dns.TypeA, "10.66.0.11")
	}
	if n := counted(t, reg, "rexcarcer_dnsd_transfers_total", "ixfr"); n < 2 {
		t.Errorf("%v incremental transfers", n)
	}
}
