//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/internal/testenv"
)

// outsideNet is a network namespace behind a NIC of this machine: a DHCP
// server with short leases, and a web server that says who asks.
type outsideNet struct{ ns, nic, dir string }

func newOutside(t *testing.T) *outsideNet {
	t.Helper()
	o := &outsideNet{ns: fmt.Sprintf("rexout%d", os.Getpid()), nic: fmt.Sprintf("rxo%d", os.Getpid()), dir: t.TempDir()}
	must := func(argv ...string) {
		t.Helper()
		if r := command(t.Context(), "", nil, argv...); r.code != 0 {
			t.Fatalf("%s: %s", strings.Join(argv, " "), r)
		}
	}
	t.Cleanup(func() {
		_ = exec.Command("ip", "link", "del", o.nic).Run() // with its other end
		_ = exec.Command("ip", "netns", "del", o.ns).Run()
	})
	must("ip", "netns", "add", o.ns)
	must("ip", "link", "add", o.nic, "type", "veth", "peer", "name", "eth0", "netns", o.ns)
	must("ip", "link", "set", o.nic, "up")
	for _, line := range []string{"link set lo up", "link set eth0 up", "address add 203.0.113.1/24 dev eth0", "address add 198.51.100.7/32 dev lo"} {
		must(append([]string{"ip", "-n", o.ns}, strings.Fields(line)...)...)
	}
	return o
}

// serve runs a program in there until the test ends.
func (o *outsideNet) serve(t *testing.T, argv ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("ip", append([]string{"netns", "exec", o.ns}, argv...)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

func (o *outsideNet) dhcp(t *testing.T, lease int) *exec.Cmd {
	t.Helper()
	leases, conf := filepath.Join(o.dir, "leases"), filepath.Join(o.dir, "udhcpd.conf")
	text := fmt.Sprintf("start 203.0.113.50\nend 203.0.113.60\ninterface eth0\nmin_lease 2\nlease_file %s\npidfile %s\noption subnet 255.255.255.0\noption router 203.0.113.1\noption lease %d\n",
		leases, filepath.Join(o.dir, "pid"), lease)
	if err := errors.Join(os.WriteFile(leases, nil, 0o600), os.WriteFile(conf, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
	return o.serve(t, "busybox", "udhcpd", "-f", conf)
}

// TestARouterHasAnAddressOutside: by DHCP on the NIC that -inet-nic names. It
// leads out and, for published ports, in; it is renewed, and when it ends the
// router goes by the host again.
func TestARouterHasAnAddressOutside(t *testing.T) {
	t.Parallel()
	real(t)
	o := newOutside(t)
	server := o.dhcp(t, 6)
	www := filepath.Join(o.dir, "www", "cgi-bin")
	script := filepath.Join(www, "who")
	if err := errors.Join(os.MkdirAll(www, 0o755), os.WriteFile(script, []byte("#!/bin/sh\nprintf '\\r\\n%s' \"$REMOTE_ADDR\"\n"), 0o755)); err != nil {
		t.Fatal(err)
	}
	o.serve(t, "busybox", "httpd", "-f", "-p", "80", "-h", filepath.Dir(www))

	free, err := testenv.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(free)

	h := newHost(t, "-dev", "-inet-nic", o.nic)
	h.start(t)
	h.apply(t, file("out", "10.171.80.0/24", box("inner", "out", web, service("www", "1s")), `
network "plain" { subnet = "10.171.81.0/24" }`))
	if r := h.must(t, "network", "ls", "out"); strings.Contains(r, "inet ") {
		t.Errorf("a network without NAT has an address outside:\n%s", r)
	}
	h.apply(t, strings.Replace(file("out", "10.171.80.0/24", box("inner", "out", web, service("www", "1s"))), `subnet = "10.171.80.0/24"`,
		"\n subnet = \"10.171.80.0/24\"\n nat = true\n publish \"www\" {\n port = "+port+"\n service = \"www\"\n }\n", 1), "--yes")

	var addr string
	outside := func() []string {
		var got []string
		for _, f := range decode[[]struct {
			Found []api.FoundNetwork `json:"found"`
		}](t, h, "network", "ls", "out")[0].Found {
			for _, a := range f.Router.Outside {
				got = append(got, a.String())
			}
		}
		return got
	}
	poll(t, 60*time.Second, "the router has an address", func() error {
		if got := outside(); len(got) != 1 || !strings.HasPrefix(got[0], "203.0.113.") {
			return fmt.Errorf("outside: %q", got)
		}
		addr = outside()[0]
		return nil
	})
	poll(t, 30*time.Second, "the jail's way out is that address", func() error {
		if r := h.ctl("exec", "inner", "--", "timeout", "5", "wget", "-qO-", "http://198.51.100.7/cgi-bin/who"); r.code != 0 || !strings.Contains(r.stdout, addr) {
			return fmt.Errorf("want %s: %s", addr, r)
		}
		return nil
	})
	ask := func(url string) result {
		return command(t.Context(), "", nil, "ip", "netns", "exec", o.ns, "busybox", "timeout", "3", "busybox", "wget", "-qO-", url)
	}
	poll(t, 30*time.Second, "the published port answers there", func() error {
		if r := ask("http://" + addr + ":" + port + "/"); strings.TrimSpace(r.stdout) != "inner" {
			return errors.New(r.String())
		}
		return nil
	})
	if r := command(t.Context(), "", nil, "curl", "-s", "--max-time", "5", "http://127.0.0.1:"+port+"/"); strings.TrimSpace(r.stdout) != "inner" {
		t.Errorf("the published port on the host: %s", r)
	}
	// Nothing else is open: not DNS, not an echo.
	if r := command(t.Context(), "", nil, "ip", "netns", "exec", o.ns, "dig", "+time=1", "+tries=1", "@"+addr, "inner.out.rex.internal"); r.code == 0 {
		t.Errorf("DNS answers outside: %s", r)
	}
	if r := ask("http://" + addr + ":80/"); r.code == 0 {
		t.Errorf("port 80 answers outside: %s", r)
	}

	// It is renewed: what is left of it, which the kernel counts down, grows.
	id := decode[api.NetworkRow](t, h, "network", "show", "out").ID
	ns := filepath.Join(h.run, instance(h.data), "net", "router", id)
	last := 0
	poll(t, 60*time.Second, "the lease is renewed", func() error {
		r := command(t.Context(), "", nil, "nsenter", "--net="+ns, "ip", "-o", "-4", "address", "show", "dev", "inet")
		_, left, ok := strings.Cut(r.stdout, "valid_lft ")
		now, err := strconv.Atoi(strings.Split(left, "sec")[0])
		if !ok || err != nil {
			return errors.New(r.String())
		}
		if now > last && last > 0 {
			return nil
		}
		last = now
		return fmt.Errorf("%d seconds are left", now)
	})
	// Without a server the lease ends, and the way out is by the host again.
	if err := server.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	poll(t, 60*time.Second, "the lease ends", func() error {
		if got := outside(); len(got) != 0 {
			return fmt.Errorf("outside: %q", got)
		}
		return nil
	})
	if r := h.must(t, "network", "explain", "inner"); strings.Contains(r, "dev inet") {
		t.Errorf("the routes are still there:\n%s", r)
	}
}
