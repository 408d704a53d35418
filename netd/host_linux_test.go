package netd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/rexcarcer/rexcarcer/internal/run"
	"github.com/rexcarcer/rexcarcer/internal/testenv"
)

// world is a host of its own: a namespace that plays the host, and one that plays the rest of the world.
//
//	outside 192.0.2.1/24 ---- eth0 192.0.2.2/24 host
type world struct {
	tb            testing.TB
	dir           string
	host, outside string // paths of namespaces
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	testenv.RequireRoot(tb)
	testenv.RequireTool(tb, "nft")
	w := &world{tb: tb, dir: tb.TempDir()}
	w.host, w.outside = w.namespace("host"), w.namespace("outside")
	// A new namespace inherits what the machine's own says at this moment.
	w.in(w.host, func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("0"), 0) })
	w.link(w.host, "eth0", "192.0.2.2/24", w.outside, "eth0", "192.0.2.1/24")
	w.waitUp(w.host, "eth0")
	w.waitUp(w.outside, "eth0")
	w.in(w.host, func() error {
		return netlink.RouteAdd(&netlink.Route{Gw: net.IPv4(192, 0, 2, 1)})
	})
	return w
}

func (w *world) namespace(name string) string {
	w.tb.Helper()
	path := filepath.Join(w.dir, name)
	ns, err := makeNS(path, nil, func(string) {})
	if err != nil {
		w.tb.Fatal(err)
	}
	defer ns.close()
	w.tb.Cleanup(func() {
		if err := removeNS(path); err != nil {
			w.tb.Error(err)
		}
	})
	if err := ns.nl.must(linkUp(1)); err != nil {
		w.tb.Fatal(err)
	}
	return path
}

// link makes a veth pair between two namespaces and gives both ends an address.
func (w *world) link(ns1, nic1, addr1, ns2, nic2, addr2 string) {
	w.tb.Helper()
	fd, err := openNSFile(ns2)
	if err != nil {
		w.tb.Fatal(err)
	}
	defer unix.Close(fd)
	w.in(ns1, func() error {
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: nic1}, PeerName: nic2, PeerNamespace: netlink.NsFd(fd)})
	})
	for _, e := range [][3]string{{ns1, nic1, addr1}, {ns2, nic2, addr2}} {
		w.in(e[0], func() error {
			x, err := netlink.LinkByName(e[1])
			if err != nil {
				return err
			}
			a, err := netlink.ParseAddr(e[2])
			if err != nil {
				return err
			}
			if err := netlink.AddrAdd(x, a); err != nil {
				return err
			}
			return netlink.LinkSetUp(x)
		})
	}
}

// waitUp waits until the kernel has noticed that a link is up, which it does in the background.
func (w *world) waitUp(ns, nic string) {
	w.tb.Helper()
	w.in(ns, func() error {
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
			x, err := netlink.LinkByName(nic)
			if err != nil || x.Attrs().OperState == netlink.OperUp {
				return err
			}
		}
		return fmt.Errorf("%s does not come up", nic)
	})
}

// in runs fn inside the namespace at path.
func (w *world) in(path string, fn func() error) {
	w.tb.Helper()
	if err := w.try(path, fn); err != nil {
		w.tb.Fatalf("in %s: %v", filepath.Base(path), err)
	}
}

func (w *world) try(path string, fn func() error) error {
	fd, err := openNSFile(path)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return inNS(fd, fn)
}

func (w *world) options(instance string) Options {
	return Options{Instance: instance, RunDir: filepath.Join(w.dir, "run-"+instance), HostNS: w.host,
		Runner: run.Real{}, Log: slog.New(slog.NewTextHandler(testWriter{w.tb}, nil))}
}

type testWriter struct{ tb testing.TB }

func (t testWriter) Write(b []byte) (int, error) {
	t.tb.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

// driver opens a driver. At the end of the test a new process's driver tears everything down, and nothing may be left.
func (w *world) driver(instance string) *linux {
	w.tb.Helper()
	before := w.state()
	w.tb.Cleanup(func() {
		d, err := newLinux(w.options(instance))
		if err != nil {
			w.tb.Fatal(err)
		}
		if err := errors.Join(d.Teardown(context.Background()), d.Close()); err != nil {
			w.tb.Error(err)
		}
		if after := w.state(); after != before {
			w.tb.Errorf("the host is not as it was: %s", diff(before, after))
		}
		if _, err := os.Stat(d.o.RunDir); err == nil {
			w.tb.Errorf("%s is left", d.o.RunDir)
		}
	})
	return w.open(instance)
}

// open is driver without the end.
func (w *world) open(instance string) *linux {
	w.tb.Helper()
	d, err := newLinux(w.options(instance))
	if err != nil {
		w.tb.Fatal(err)
	}
	w.tb.Cleanup(func() {
		if err := d.Close(); err != nil {
			w.tb.Error(err)
		}
	})
	return d
}

// state is what is on the host: links, addresses, routes, rules, ip_forward.
func (w *world) state() string {
	w.tb.Helper()
	out := w.sh(w.host, "nft", "-s", "list", "ruleset") +
		strings.ReplaceAll(w.sh(w.host, "ip", "-o", "route"), "linkdown ", "") + // noticed by the kernel a moment later
		w.sh(w.host, "ip", "-o", "-4", "addr")
	w.in(w.host, func() error {
		links, err := netlink.LinkList()
		for _, x := range links {
			out += x.Attrs().Name + " " + x.Attrs().Alias + "\n"
		}
		b, err2 := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
		out += "ip_forward " + string(b)
		if err != nil {
			return err
		}
		return err2
	})
	return out
}

func (w *world) sh(ns string, argv ...string) string {
	w.tb.Helper()
	res, err := run.Real{}.Run(context.Background(), run.Cmd{Argv: argv, NetNS: ns})
	if err != nil {
		w.tb.Fatal(err)
	}
	return string(res.Stdout)
}

// serve answers every TCP connection to addr inside ns with name and the peer's address, until the test ends.
func (w *world) serve(ns, addr, name string) {
	w.tb.Helper()
	w.tb.Cleanup(w.listen(ns, addr, name))
}

// listen is serve with an end.
func (w *world) listen(ns, addr, name string) (stop func()) {
	w.tb.Helper()
	var l net.Listener
	w.in(ns, func() (err error) {
		l, err = (&net.ListenConfig{}).Listen(context.Background(), "tcp", addr)
		return err
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
			fmt.Fprintf(c, "%s %s", name, host)
			_ = c.Close()
		}
	}()
	return func() { _ = l.Close(); <-done }
}

// ask connects from inside ns and returns what the server says, or the error's text.
func (w *world) ask(ns, addr string) string {
	w.tb.Helper()
	return w.askFor(ns, addr, 5*time.Second)
}

func (w *world) askFor(ns, addr string, patience time.Duration) string {
	w.tb.Helper()
	answer := ""
	err := w.try(ns, func() error {
		c, err := net.DialTimeout("tcp", addr, patience)
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(2 * time.Second))
		b, err := io.ReadAll(c)
		answer = string(b)
		return err
	})
	if err != nil {
		return "error: " + err.Error()
	}
	return answer
}

func netA() Network {
	return Network{Name: "alpha", ID: "aaaa0001", Subnet: netip.MustParsePrefix("10.66.0.0/24"), NAT: true}
}

func netB() Network {
	return Network{Name: "beta", ID: "bbbb0002", Subnet: netip.MustParsePrefix("10.67.0.0/24"), NAT: true}
}

func port(network, addr string) Port { return Port{Network: network, Addr: netip.MustParseAddr(addr)} }

func jailWish(id, network, addr string) NSConfig {
	return NSConfig{ID: id, Name: "jail-" + id, Ports: []Port{port(network, addr)}}
}

// mustSet waits for ports that a driver of this process has just given back: what
// another test forks meanwhile has them, too, until it is another program.
func mustSet(tb testing.TB, d Driver, nets ...Network) {
	tb.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		err := d.Set(tb.Context(), Config{Networks: nets})
		if err == nil {
			return
		}
		if !strings.Contains(err.Error(), "in use on this host by another program") || time.Now().After(deadline) {
			tb.Fatal(err)
		}
		<-time.After(20 * time.Millisecond)
	}
}

func mustAttach(tb testing.TB, d Driver, c NSConfig) string {
	tb.Helper()
	path, err := d.Attach(tb.Context(), c)
	if err != nil {
		tb.Fatal(err)
	}
	return path
}

func wantAnswer(tb testing.TB, got, want string) {
	tb.Helper()
	if got != want {
		tb.Errorf("got %q, want %q", got, want)
	}
}

func (w *world) wantNoAnswer(ns, addr string) {
	w.tb.Helper()
	tb, got := w.tb, w.askFor(ns, addr, 700*time.Millisecond)
	if !strings.HasPrefix(got, "error: ") {
		tb.Errorf("got %q, want no connection", got)
	}
}

// diff shows the lines that differ.
func diff(before, after string) string {
	return cmp.Diff(strings.Split(before, "\n"), strings.Split(after, "\n"))
}

func mustPrefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
