package netd

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"
)

// say is a server that tells its name to each client, and then what the client says.
func say(t *testing.T, name string) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.WriteString(c, name+"\n")
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String())
}

// relayOf is a relay on a port of the loopback.
func relayOf(t *testing.T, r *relays, members ...netip.AddrPort) (addr string, p Publish) {
	t.Helper()
	r.bind = func(Publish) (io.Closer, error) {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err == nil {
			addr = l.Addr().String()
		}
		return l, err
	}
	p = Publish{HostPort: 8080, Proto: "tcp", Members: members}
	if err := r.ensure(p, func(netip.Addr, netip.Addr) bool { return false }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.close(); err != nil {
			t.Error(err)
		}
	})
	return addr, p
}

func talk(t *testing.T, addr string) (string, error) {
	t.Helper()
	c, err := net.DialTimeout("tcp4", addr, 10*time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	r := bufio.NewReader(c)
	name, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, "hello"); err != nil {
		return "", err
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return "", err
	}
	rest, err := io.ReadAll(r)
	return strings.TrimSpace(name) + " " + string(rest), err
}

func TestRelayPassesConnectionsOnInTurn(t *testing.T) {
	t.Parallel()
	var r relays
	addr, p := relayOf(t, &r, say(t, "one"), say(t, "two"))
	for _, want := range []string{"one hello", "two hello", "one hello"} {
		if got, err := talk(t, addr); err != nil || got != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	p.Members = []netip.AddrPort{say(t, "three")} // members change, the port stays
	if err := r.ensure(p, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := talk(t, addr); err != nil || got != "three hello" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestRelaySkipsMembersThatDoNotAnswer(t *testing.T) {
	t.Parallel()
	var r relays
	dead := netip.MustParseAddrPort("127.0.0.1:1") // tcpmux (RFC 1078), which nobody runs
	addr, _ := relayOf(t, &r, dead, say(t, "two"))
	for range 3 {
		if got, err := talk(t, addr); err != nil || got != "two hello" {
			t.Errorf("got %q, %v", got, err)
		}
	}
}

func TestRelayResetsWhereThereIsNoMemberAndWhomItRefuses(t *testing.T) {
	t.Parallel()
	var r relays
	addr, p := relayOf(t, &r)
	if got, err := talk(t, addr); err == nil {
		t.Errorf("got %q of no member", got)
	}
	p.Members = []netip.AddrPort{say(t, "one")}
	if err := r.keep(nil); err != nil {
		t.Fatal(err)
	}
	r.bind = func(Publish) (io.Closer, error) {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err == nil {
			addr = l.Addr().String()
		}
		return l, err
	}
	loopback := netip.MustParseAddr("127.0.0.1")
	if err := r.ensure(p, func(client, local netip.Addr) bool { return client == loopback && local == loopback }); err != nil {
		t.Fatal(err)
	}
	if got, err := talk(t, addr); err == nil {
		t.Errorf("got %q though it is refused", got)
	}
}

func TestRelayThatClosesCutsItsConnections(t *testing.T) {
	t.Parallel()
	var r relays
	addr, _ := relayOf(t, &r, say(t, "one"))
	c, err := net.DialTimeout("tcp4", addr, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	in := bufio.NewReader(c)
	if _, err := in.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	if _, err := in.ReadString('\n'); err == nil || errors.Is(err, syscall.ETIMEDOUT) {
		t.Errorf("got %v, want that the connection has ended", err)
	}
}

func TestPortsAreTakenForReal(t *testing.T) {
	t.Parallel()
	for _, proto := range []string{"tcp", "udp"} {
		c, err := bindPort(Publish{Proto: proto}) // port 0: any
		if err != nil {
			t.Fatal(err)
		}
		var port int
		if l, ok := c.(net.Listener); ok {
			port = l.Addr().(*net.TCPAddr).Port
		} else {
			port = c.(*net.UDPConn).LocalAddr().(*net.UDPAddr).Port
		}
		var r relays
		if err := r.try(Publish{HostPort: uint16(port), Proto: proto}); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("%s: got %v, want that it is in use", proto, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestJailsAreTurnedAwayFromPublishedPorts(t *testing.T) {
	t.Parallel()
	d := newBSD(t).d
	refuses := d.refuses([]Network{bsdNet(0)})
	for _, c := range []struct {
		client, local string
		want          bool
	}{
		{"192.0.2.9", "192.0.2.2", false}, {"127.0.0.1", "127.0.0.1", false}, {"10.60.0.7", "10.60.0.2", true}, {"198.19.200.1", "192.0.2.2", true},
	} {
		if got := refuses(netip.MustParseAddr(c.client), netip.MustParseAddr(c.local)); got != c.want {
			t.Errorf("%s to %s: got %v, want %v", c.client, c.local, got, c.want)
		}
	}
}
