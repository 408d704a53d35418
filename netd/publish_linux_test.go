package netd

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// six gives the host and the outside IPv6: 2001:db8::2 and 2001:db8::1.
func (w *world) six() {
	w.tb.Helper()
	for ns, addr := range map[string]string{w.host: "2001:db8::2", w.outside: "2001:db8::1"} {
		w.in(ns, func() error {
			if err := os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("0"), 0); err != nil {
				return err
			}
			for _, nic := range []string{"lo", "eth0"} {
				if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+nic+"/disable_ipv6", []byte("0"), 0); err != nil {
					return err
				}
			}
			x, err := netlink.LinkByName("eth0")
			if err != nil {
				return err
			}
			return netlink.AddrAdd(x, &netlink.Addr{Flags: unix.IFA_F_NODAD, IPNet: &net.IPNet{IP: net.ParseIP(addr), Mask: net.CIDRMask(64, 128)}})
		})
	}
	w.in(w.host, func() error {
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/eth0/accept_ra", []byte("1"), 0); err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP("2001:db8::1")})
	})
}

func (w *world) sysctl(ns, name string) string {
	w.tb.Helper()
	var b []byte
	w.in(ns, func() (err error) {
		b, err = os.ReadFile("/proc/sys/net/" + name)
		return err
	})
	return strings.TrimSpace(string(b))
}

func netA6() Network {
	a := netA()
	a.Subnet6 = mustPrefix("fd00:66::/64")
	return a
}

func jailWish6(id, network, addr, addr6 string) NSConfig {
	c := jailWish(id, network, addr)
	c.Ports[0].Addr6 = netip.MustParseAddr(addr6)
	return c
}

func ports(texts ...string) (out []netip.AddrPort) {
	for _, s := range texts {
		out = append(out, netip.MustParseAddrPort(s))
	}
	return out
}

// asks counts who answers, by the first word.
func (w *world) asks(times int, from, addr string) map[string]int {
	w.tb.Helper()
	got := map[string]int{}
	for range times {
		name, _, _ := strings.Cut(w.ask(from, addr), " ")
		got[name]++
	}
	return got
}

func TestPublishedPortAnswersOnIPv6AndTheHostRoutesItMeanwhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.six()
	d := w.driver("t1")
	a := netA6()
	a.Publish = []Publish{{HostPort: 15432, Members: ports("10.66.0.3:80"), Members6: ports("[fd00:66::3]:80", "[fd00:66::4]:80")}}
	mustSet(t, d, a)
	if got := w.sysctl(w.host, forward6) + w.sysctl(w.host, "ipv6/conf/eth0/accept_ra"); got != "12" {
		t.Errorf("forwarding and accept_ra are %s, want 1 and 2: a router that goes on hearing advertisements", got)
	}
	j1 := mustAttach(t, d, jailWish6("11111111", "alpha", "10.66.0.3", "fd00:66::3"))
	j2 := mustAttach(t, d, jailWish6("22222222", "alpha", "10.66.0.4", "fd00:66::4"))
	w.serve(j1, "[fd00:66::3]:80", "one")
	w.serve(j2, "[fd00:66::4]:80", "two")
	w.serve(w.outside, "[2001:db8::1]:80", "outside")
	for name, c := range map[string][2]string{
		"outside":          {w.outside, "[2001:db8::2]:15432"},
		"host by its name": {w.host, "[2001:db8::2]:15432"},
		"a member":         {j1, "[2001:db8::2]:15432"},
	} {
		if got := w.asks(4, c[0], c[1]); got["one"] != 2 || got["two"] != 2 {
			t.Errorf("from %s: got %v, want each member twice", name, got)
		}
	}
	if got := w.ask(w.outside, "[2001:db8::2]:15432"); !strings.HasSuffix(got, " 2001:db8::1") {
		t.Errorf("the member saw %q, want the client's own address", got)
	}
	wantAnswer(t, w.ask(j1, "[2001:db8::1]:80"), "outside 2001:db8::2") // NAT66
	w.wantNoAnswer(w.host, "[::1]:15432")
	err := w.try(w.host, func() error {
		l, err := net.Listen("tcp6", "[::1]:15432")
		if err == nil {
			_ = l.Close()
		}
		return err
	})
	if err == nil {
		t.Error("another program could take the port on IPv6")
	}

	a.Publish[0].Members6 = nil
	mustSet(t, d, a)
	w.wantNoAnswer(w.outside, "[2001:db8::2]:15432")
	if err := d.Teardown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := w.sysctl(w.host, forward6) + w.sysctl(w.host, "ipv6/conf/eth0/accept_ra"); got != "01" {
		t.Errorf("forwarding and accept_ra are %s afterwards, were 0 and 1", got)
	}
}

func TestPublishedDatagramsGoToMembersInTurnWithTheirSource(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.driver("t1")
	a := netA()
	a.Publish = []Publish{{HostPort: 15353, Proto: "udp", Members: ports("10.66.0.3:53", "10.66.0.4:53")}}
	mustSet(t, d, a)
	w.echo(mustAttach(t, d, jailWish("11111111", "alpha", "10.66.0.3")), "10.66.0.3:53", "one")
	w.echo(mustAttach(t, d, jailWish("22222222", "alpha", "10.66.0.4")), "10.66.0.4:53", "two")
	for range 3 {
		got := map[string]int{}
		for range 2 {
			got[w.tell(w.outside, "192.0.2.2:15353")]++
		}
		if got["one 192.0.2.1"] != 1 || got["two 192.0.2.1"] != 1 {
			t.Errorf("got %v, want each member once, which sees the client's own address", got)
		}
	}
}

// echo answers every datagram with name and the sender's address, until the test ends.
func (w *world) echo(ns, addr, name string) {
	w.tb.Helper()
	var c net.PacketConn
	w.in(ns, func() (err error) {
		c, err = net.ListenPacket("udp", addr)
		return err
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 100)
		for {
			_, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			host, _, _ := net.SplitHostPort(from.String())
			_, _ = c.WriteTo([]byte(name+" "+host), from)
		}
	}()
	w.tb.Cleanup(func() { _ = c.Close(); <-done })
}

// tell sends a datagram from a socket of its own, again until it is answered, and returns the answer.
func (w *world) tell(ns, addr string) (answer string) {
	w.tb.Helper()
	w.in(ns, func() error {
		c, err := net.Dial("udp", addr)
		if err != nil {
			return err
		}
		defer c.Close()
		b := make([]byte, 100)
		for range 20 {
			if _, err = c.Write([]byte("x")); err != nil {
				continue
			}
			_ = c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
			n, readErr := c.Read(b)
			if err = readErr; err == nil {
				answer = string(b[:n])
				return nil
			}
		}
		return fmt.Errorf("no answer from %s: %w", addr, err)
	})
	return answer
}

func TestJailsReachPublishedPortsOfTheirHostAsTheOutsideDoes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.driver("t1")
	a, b, c := netA(), netB(), Network{Name: "gamma", ID: "cccc0003", Subnet: mustPrefix("10.68.0.0/24")}
	a.Publish = []Publish{{HostPort: 15001, Members: ports("10.66.0.3:80")}}
	c.Publish = []Publish{{HostPort: 15003, Members: ports("10.68.0.3:80")}}
	mustSet(t, d, a, b, c)
	ja := mustAttach(t, d, jailWish("11111111", "alpha", "10.66.0.3"))
	ja2 := mustAttach(t, d, jailWish("44444444", "alpha", "10.66.0.4"))
	jb := mustAttach(t, d, jailWish("22222222", "beta", "10.67.0.3"))
	jc := mustAttach(t, d, jailWish("33333333", "gamma", "10.68.0.3"))
	w.serve(ja, "10.66.0.3:80", "a")
	w.serve(jc, "10.68.0.3:80", "c")
	for name, x := range map[string][3]string{
		"the member itself":           {ja, "192.0.2.2:15001", "a"},
		"another jail of the network": {ja2, "192.0.2.2:15001", "a"},
		"another network with NAT":    {jb, "192.0.2.2:15001", "a"},
		"that one to the third":       {jb, "192.0.2.2:15003", "c"},
		"a network without NAT":       {jc, "192.0.2.2:15003", "c"},
	} {
		if got, _, _ := strings.Cut(w.ask(x[0], x[1]), " "); got != x[2] {
			t.Errorf("%s: got %q, want %q", name, got, x[2])
		}
	}
	w.wantNoAnswer(jc, "192.0.2.2:15001")                                               // nothing leaves gamma but for its own ports
	for _, to := range []string{"10.66.0.3:80", "127.0.0.1:15001", "10.67.0.2:15001"} { // no way but the published one
		w.wantNoAnswer(jb, to)
	}
}

func TestNetworksThatShareAPortTakeTurnsByTheirMembers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.driver("t1")
	a, b := netA(), netB()
	a.Publish = []Publish{{HostPort: 15432, Shared: true, Members: ports("10.66.0.3:80", "10.66.0.4:80")}}
	b.Publish = []Publish{{HostPort: 15432, Shared: true, Members: ports("10.67.0.3:80")}}
	mustSet(t, d, a, b)
	w.serve(mustAttach(t, d, jailWish("11111111", "alpha", "10.66.0.3")), "10.66.0.3:80", "one")
	w.serve(mustAttach(t, d, jailWish("22222222", "alpha", "10.66.0.4")), "10.66.0.4:80", "two")
	w.serve(mustAttach(t, d, jailWish("33333333", "beta", "10.67.0.3")), "10.67.0.3:80", "three")
	if got := w.asks(6, w.outside, "192.0.2.2:15432"); got["one"] != 2 || got["two"] != 2 || got["three"] != 2 {
		t.Errorf("got %v, want each member twice", got)
	}
	a.Publish[0].Members = nil
	mustSet(t, d, a, b)
	if got := w.asks(3, w.outside, "192.0.2.2:15432"); got["three"] != 3 {
		t.Errorf("got %v, want the only member 3 times", got)
	}
	b.Publish[0].Shared = false
	if err := d.Set(t.Context(), Config{Networks: []Network{a, b}}); err == nil {
		t.Error("a port that only one network shares was published twice")
	}
}

func TestConnectionsOfAMemberThatLeftGoOnForAWhileAndAreCutThen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.driver("t1")
	a := netA()
	a.Publish = []Publish{{HostPort: 15432, Drain: time.Minute, Members: ports("10.66.0.3:80", "10.66.0.4:80")}}
	mustSet(t, d, a)
	w.mirror(mustAttach(t, d, jailWish("11111111", "alpha", "10.66.0.3")), "10.66.0.3:80")
	w.mirror(mustAttach(t, d, jailWish("22222222", "alpha", "10.66.0.4")), "10.66.0.4:80")
	first, second := w.talk(w.outside, "192.0.2.2:15432"), w.talk(w.outside, "192.0.2.2:15432") // one each
	now := time.Now()
	drain := func(after time.Duration, want time.Duration) {
		t.Helper()
		again, err := d.Drain(t.Context(), now.Add(after))
		if err != nil || again != want {
			t.Fatalf("after %v: got %v, %v, want %v", after, again, err, want)
		}
	}
	drain(0, 0)
	a.Publish[0].Members = ports("10.66.0.4:80")
	mustSet(t, d, a)
	drain(0, time.Minute)
	drain(59*time.Second, time.Second)
	for _, c := range []net.Conn{first, second} {
		if err := says(c); err != nil {
			t.Fatalf("a connection that may go on was cut: %v", err)
		}
	}
	drain(time.Minute, 0)
	if err := says(second); err != nil {
		t.Errorf("the connection of a member that stayed was cut: %v", err)
	}
	if err := says(first); err == nil {
		t.Error("the connection of a member that left was not cut")
	}

	// A process that knows nothing of the past finds the connections of a port that is no longer published.
	a.Publish = nil
	mustSet(t, d, a)
	other := w.open("t1")
	mustSet(t, other, a)
	if again, err := other.Drain(t.Context(), now); err != nil || again != formerDrain {
		t.Errorf("got %v, %v, want %v", again, err, formerDrain)
	}
	if again, err := other.Drain(t.Context(), now.Add(formerDrain)); err != nil || again != 0 {
		t.Errorf("got %v, %v, want nothing to do", again, err)
	}
	if err := saysFor(second, time.Second); err == nil { // nobody is there to reset it
		t.Error("the connection by a port that is not published any more was not cut")
	}
}

// mirror sends back what it is sent.
func (w *world) mirror(ns, addr string) {
	w.tb.Helper()
	var l net.Listener
	w.in(ns, func() (err error) {
		l, err = net.Listen("tcp", addr)
		return err
	})
	w.tb.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			w.tb.Cleanup(func() { _ = c.Close() })
			go func() {
				b := make([]byte, 1)
				for {
					if _, err := c.Read(b); err != nil {
						return
					}
					if _, err := c.Write(b); err != nil {
						return
					}
				}
			}()
		}
	}()
}

// talk opens a connection and says something once.
func (w *world) talk(ns, addr string) (c net.Conn) {
	w.tb.Helper()
	w.in(ns, func() (err error) {
		c, err = net.DialTimeout("tcp", addr, 10*time.Second)
		return err
	})
	w.tb.Cleanup(func() { _ = c.Close() })
	if err := says(c); err != nil {
		w.tb.Fatal(err)
	}
	return c
}

// says sends a byte and waits for it to come back.
func says(c net.Conn) error { return saysFor(c, 10*time.Second) }

func saysFor(c net.Conn, patience time.Duration) error {
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write([]byte("x")); err != nil {
		return err
	}
	_, err := c.Read(make([]byte, 1))
	return err
}

func TestAllowedPortsAreOpenAndOthersAreNot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.driver("t1")
	a, b := netA6(), netB()
	b.Subnet6 = mustPrefix("fd00:67::/64")
	b.Open = []Open{{From: "alpha", Ports: []Ports{{80, 80, "tcp"}, {8000, 8010, "tcp"}}}}
	mustSet(t, d, a, b)
	ja := mustAttach(t, d, jailWish6("11111111", "alpha", "10.66.0.3", "fd00:66::3"))
	jb := mustAttach(t, d, jailWish6("22222222", "beta", "10.67.0.3", "fd00:67::3"))
	for _, addr := range []string{"10.67.0.3", "[fd00:67::3]"} {
		for _, p := range []string{"80", "81", "8005"} {
			w.serve(jb, addr+":"+p, "b")
		}
		for p, want := range map[string]bool{"80": true, "8005": true, "81": false} {
			if got := w.askFor(ja, addr+":"+p, 10*time.Second); strings.HasPrefix(got, "b ") != want {
				t.Errorf("%s port %s: got %q, open is %v", addr, p, got, want)
			}
		}
	}
	w.serve(ja, "10.66.0.3:80", "a")
	w.wantNoAnswer(jb, "10.66.0.3:80")
	rules, err := d.Rules("beta")
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(rules); !strings.Contains(got, "{router jails of alpha (10.66.0.0/24, fd00:66::/64) jails tcp 80, 8000-8010 passes allow alpha}") {
		t.Errorf("got %s", got)
	}
}
