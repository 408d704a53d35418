//go:build linux

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/internal/testenv"
)

const guestNetwork = `
cluster "guests" { domain = "rex.internal" }
network "guests" {
  subnet = "10.171.60.0/24"
  dhcp {
    range = "10.171.60.100-10.171.60.199"
    lease = "10m"
    ntp   = "10.171.60.5"
    host "printer" {
      mac     = "52:54:00:60:00:05"
      address = "10.171.60.20"
    }
  }
}
image "box-guests" { base = %q }
`

// guest is a machine that is plugged into a network's bridge: a namespace
// with one interface, eth0.
type guest struct {
	h        *host
	ns, mac  string
	hostname string
}

// bridgeOf is the bridge that a jail is plugged into.
func bridgeOf(t *testing.T, h *host, jail string) string {
	t.Helper()
	pid := h.pid(h.ps(t)[jail].UUID)
	out, err := exec.Command("nsenter", "-t", strconv.Itoa(pid), "-n", "ip", "-o", "link", "show", "eth0").Output()
	if err != nil {
		t.Fatalf("look at eth0 of jail %s: %v", jail, err)
	}
	_, peer, _ := strings.Cut(string(out), "@if")
	peer, _, _ = strings.Cut(peer, ":")
	files, err := filepath.Glob("/sys/class/net/*/ifindex")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if index, err := os.ReadFile(f); err == nil && strings.TrimSpace(string(index)) == peer {
			if master, err := os.Readlink(filepath.Join(filepath.Dir(f), "master")); err == nil {
				return filepath.Base(master)
			}
		}
	}
	t.Fatalf("jail %s is on no bridge: %s", jail, out)
	return ""
}

// plug makes one and connects it.
func plug(t *testing.T, h *host, bridge, hostname string, n int) *guest {
	t.Helper()
	g := &guest{h: h, ns: fmt.Sprintf("rexguest-%d-%d", os.Getpid(), n), mac: fmt.Sprintf("52:54:00:60:00:%02x", n), hostname: hostname}
	port := fmt.Sprintf("rg%d.%d", os.Getpid(), n)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", g.ns).Run() }) // its interfaces go with it
	for _, line := range []string{
		"ip netns add " + g.ns,
		"ip link add " + port + " type veth peer name eth0 address " + g.mac + " netns " + g.ns,
		"ip link set " + port + " master " + bridge + " up",
		"ip -n " + g.ns + " link set lo up",
		"ip -n " + g.ns + " link set eth0 up",
	} {
		if out, err := exec.Command("sh", "-c", line).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", line, err, out)
		}
	}
	return g
}

// in runs a command in the guest, for at most a minute.
func (g *guest) in(t *testing.T, argv ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", g.ns}, argv...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s: %s: %v\n%s", g.hostname, strings.Join(argv, " "), err, out)
	}
	return string(out)
}

// guestLeases are those of the guests' network, by host name.
func guestLeases(t *testing.T, h *host) map[string]api.LeaseRow {
	t.Helper()
	all := map[string]api.LeaseRow{}
	for _, l := range decode[[]api.LeaseRow](t, h, "network", "leases", "guests") {
		all[l.Hostname] = l
	}
	return all
}

// The clients, each as it is in Debian. They ask, get a lease and say so; what
// they would set up is not their business here, except dhcpcd's.
func (g *guest) udhcpc(t *testing.T, more ...string) {
	t.Helper()
	g.in(t, append([]string{"busybox", "udhcpc", "-i", "eth0", "-f", "-n", "-q", "-t", "10", "-T", "2", "-s", "/bin/true", "-x", "hostname:" + g.hostname}, more...)...)
}

func (g *guest) dhclient(t *testing.T, dir string, more ...string) {
	t.Helper()
	conf, pid := filepath.Join(dir, "dhclient.conf"), filepath.Join(dir, "dhclient.pid")
	if err := os.WriteFile(conf, fmt.Appendf(nil, "send host-name %q;\ntimeout 30;\nretry 5;\ninitial-interval 2;\n", g.hostname), 0o644); err != nil {
		t.Fatal(err)
	}
	g.in(t, append(append([]string{"dhclient", "-v", "-cf", conf, "-lf", filepath.Join(dir, "dhclient.leases"), "-pf", pid, "-sf", "/bin/true"}, more...), "eth0")...)
	if text, err := os.ReadFile(pid); err == nil { // it stays to renew
		if n, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			_ = syscall.Kill(n, syscall.SIGKILL)
		}
	}
}

// private hides the places where a client keeps its state from this machine's.
const private = "mount --make-rprivate / && mount -t tmpfs tmpfs /run && mkdir -p /var/lib/dhcpcd && mount -t tmpfs tmpfs /var/lib/dhcpcd && "

func (g *guest) dhcpcd(t *testing.T) {
	t.Helper()
	g.in(t, "unshare", "-m", "sh", "-c", private+"exec dhcpcd -1 -4 -B -t 40 --noarp -c /bin/true -h "+g.hostname+" eth0")
}

const networkd = "/lib/systemd/systemd-networkd"

// networkd runs until the guest has a lease: then it is ended, and gives it back. It is part of a system that may not be
// here, and wants much of it: where it does not run that is noted and no more.
func (g *guest) networkd(t *testing.T) {
	t.Helper()
	script := private + `mount -o remount,ro,bind /sys && mkdir -p /run/systemd/netif /run/systemd/network && chown -R systemd-network /run/systemd/netif &&
printf '[Match]\nName=eth0\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\n[DHCPv4]\nHostname=` + g.hostname + `\n' >/run/systemd/network/10.network && exec ` + networkd
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ip", "netns", "exec", g.ns, "unshare", "-m", "sh", "-c", script)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Logf("systemd-networkd does not start: %v", err)
		return
	}
	err := pollErr(20*time.Second, func() error {
		rows, err := g.rows()
		if err == nil && !strings.Contains(rows, `"`+g.hostname+`"`) {
			err = fmt.Errorf("no lease of %s in %s", g.hostname, rows)
		}
		return err
	})
	cancel()
	_ = cmd.Wait() // ended by a signal
	if err != nil {
		t.Logf("systemd-networkd got no lease: %v\n%s", err, log.String())
		return
	}
	t.Log("systemd-networkd got a lease")
}

func (g *guest) rows() (string, error) {
	r := g.h.ctl("network", "leases", "guests", "-o", "json")
	if r.code != 0 {
		return "", fmt.Errorf("network leases: %s", r.stderr)
	}
	return r.stdout, nil
}

// TestGuestsGetAddressesByPlainDHCP: what is plugged into a bridge gets an
// address and a name, whichever client it has; the same one when the daemon was
// killed; and the name goes when the address is given back.
func TestGuestsGetAddressesByPlainDHCP(t *testing.T) {
	for _, tool := range []string{"busybox", "curl", "dhclient", "dhcpcd", "dig", "nsenter", "unshare"} {
		testenv.RequireTool(t, tool)
	}
	t.Parallel()
	h := newHost(t)
	h.start(t)
	h.apply(t, fmt.Sprintf(guestNetwork, base)+box("web", "guests", web, service("shop", "1s")))

	bridge := bridgeOf(t, h, "web")
	one, two, three := plug(t, h, bridge, "one", 1), plug(t, h, bridge, "two", 2), plug(t, h, bridge, "three", 3)
	four, five := plug(t, h, bridge, "four", 4), plug(t, h, bridge, "five", 5)
	dir := t.TempDir()
	var wg sync.WaitGroup
	wg.Go(func() { one.udhcpc(t) })
	wg.Go(func() { two.dhclient(t, dir, "-1") })
	wg.Go(func() { three.dhcpcd(t) })
	wg.Go(func() { five.udhcpc(t) })
	if _, err := os.Stat(networkd); err == nil {
		wg.Go(func() { four.networkd(t) })
	}
	wg.Wait()
	had := guestLeases(t, h)
	for _, g := range []*guest{one, two, three} {
		l := had[g.hostname]
		if l.MAC != g.mac || l.Jail != "" || l.Expires == nil || l.Resting || !inRange(l.Address) {
			t.Errorf("guest %s has %+v", g.hostname, l)
		}
	}
	if l := had["printer"]; l.Address.String() != "10.171.60.20" || l.MAC != five.mac {
		t.Errorf("the reserved lease is %+v", l)
	}
	if t.Failed() {
		t.FailNow()
	}
	checkNames(t, one, had["one"].Address)

	h.kill(t)
	h.start(t)
	one.udhcpc(t, "-x", "0x33:0000000a") // for ten seconds, and it does not renew
	two.dhclient(t, dir, "-1")           // it asks for what it had
	now := guestLeases(t, h)
	for _, name := range []string{"one", "two", "three", "printer"} {
		if now[name].Address != had[name].Address {
			t.Errorf("%s had %s before the daemon was killed, and has %s", name, had[name].Address, now[name].Address)
		}
	}

	two.in(t, "ip", "addr", "add", now["two"].Address.String()+"/24", "dev", "eth0")
	two.dhclient(t, dir, "-r")
	poll(t, 20*time.Second, "the address is given back", func() error {
		for _, l := range decode[[]api.LeaseRow](t, h, "network", "leases", "guests") {
			if l.MAC == two.mac && l.Resting {
				return nil
			}
		}
		return fmt.Errorf("guest two still has it")
	})
	poll(t, 60*time.Second, "the lease of one that does not renew ends", func() error {
		if l := guestLeases(t, h)["one"]; !l.Resting {
			return fmt.Errorf("it has %+v", l)
		}
		return nil
	})
	got := h.must(t, "dns", "ls")
	for _, gone := range []string{"one.guests.rex.internal", "two.guests.rex.internal"} {
		if strings.Contains(got, gone) {
			t.Errorf("a guest that left is still in DNS:\n%s", got)
		}
	}
	h.destroy(t, "guests")
}

func inRange(a netip.Addr) bool {
	b := a.As4()
	return b[0] == 10 && b[1] == 171 && b[2] == 60 && b[3] >= 100 && b[3] < 200
}

// checkNames asks the network's router from inside of a guest.
func checkNames(t *testing.T, g *guest, a netip.Addr) {
	t.Helper()
	g.in(t, "ip", "addr", "add", a.String()+"/24", "dev", "eth0")
	ask := func(want string, args ...string) {
		t.Helper()
		poll(t, 30*time.Second, "dig "+strings.Join(args, " "), func() error {
			out, err := exec.Command("ip", append([]string{"netns", "exec", g.ns, "dig", "+short", "+time=2", "+tries=1", "@10.171.60.1"}, args...)...).Output()
			if got := strings.TrimSpace(string(out)); err != nil || got != want {
				return fmt.Errorf("got %q (%v), want %q", got, err, want)
			}
			return nil
		})
	}
	ask(a.String(), g.hostname+".guests.rex.internal")
	ask(g.hostname+".guests.rex.internal.", "-x", a.String())
	ask("10.171.60.20", "printer.guests.rex.internal")
	jail := strings.TrimSpace(g.in(t, "dig", "+short", "@10.171.60.1", "web.guests.rex.internal"))
	if out := g.in(t, "curl", "-s", "--max-time", "20", "http://"+jail+"/"); strings.TrimSpace(out) != "web" {
		t.Errorf("the jail beside it answered %q", out)
	}
}
