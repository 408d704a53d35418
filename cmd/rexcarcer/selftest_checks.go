package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
)

func (s *scratch) address(jail string) string {
	a, _, _ := strings.Cut(s.jails[jail].Addresses[0], "/")
	return a
}

func (s *scratch) addresses(ctx context.Context) (string, error) {
	for name := range s.jails {
		got, err := s.inside(ctx, name, "address")
		if err != nil {
			return "", err
		}
		want := s.address(name)
		lines := strings.Fields(got)
		if !slices.Contains(lines, name) || !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, want+"/") }) {
			return "", fmt.Errorf("jail %s has %q, want its name and %s", name, lines, want)
		}
	}
	return fmt.Sprintf("one has %s, two has %s", s.address("one"), s.address("two")), nil
}

// names asks as any program does: by /etc/resolv.conf, from the network's router.
func (s *scratch) names(ctx context.Context) (string, error) {
	for _, name := range []string{"two", "two.selftest.selftest.internal", "hello.selftest.selftest.internal"} {
		if got, err := s.inside(ctx, "one", "resolve", name); err != nil || got != s.address("two") {
			return "", errors.Join(fmt.Errorf("%s is %q in jail one, want %s", name, got, s.address("two")), err)
		}
	}
	got, err := s.inside(ctx, "two", "reverse", s.address("one"))
	if err != nil || strings.TrimSuffix(got, ".") != "one.selftest.selftest.internal" {
		return "", errors.Join(fmt.Errorf("%s is called %q in jail two", s.address("one"), got), err)
	}
	ans, err := s.client.QueryDNS(ctx, "two.selftest.selftest.internal", "A")
	if err != nil || len(ans.Answers) != 1 || ans.Answers[0].Data != s.address("two") {
		return "", errors.Join(fmt.Errorf("the host's own DNS says %+v", ans.Answers), err)
	}
	return "jails find each other by name and address, by service, and the host finds them", nil
}

func (s *scratch) reach(ctx context.Context) (string, error) {
	got, err := s.inside(ctx, "one", "dial", "two:7000")
	if err != nil || !strings.HasPrefix(got, "two sees "+s.address("one")) {
		return "", errors.Join(fmt.Errorf("two answered %q, want its name and the address of one", got), err)
	}
	return "one reaches two by TCP", nil
}

// published dials as a program of this host.
func (s *scratch) published(ctx context.Context) (string, error) {
	target := net.JoinHostPort("127.0.0.1", strconv.Itoa(s.publish))
	var last error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end) && ctx.Err() == nil; {
		var got string
		if got, last = dial(ctx, target); last == nil && strings.HasPrefix(got, "two sees ") {
			return fmt.Sprintf("port %d of the host leads to two", s.publish), nil
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return "", fmt.Errorf("%s does not lead to two: %w", target, last)
}

// nat dials an address of this host that belongs to no network of ours: who
// sees the jail there must not see the jail's own address.
func (s *scratch) nat(ctx context.Context) (string, error) {
	own := outside(netip.MustParsePrefix(s.subnet))
	if !own.IsValid() {
		return "", errSkipped("this host has no IPv4 address but those of loopback and bridges")
	}
	l, err := net.Listen("tcp4", net.JoinHostPort(own.String(), "0"))
	if err != nil {
		return "", err
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = fmt.Fprintf(c, "host sees %s\n", c.RemoteAddr()) // a caller that goes away is its own affair
			_ = c.Close()
		}
	}()
	got, err := s.inside(ctx, "one", "dial", l.Addr().String())
	if err != nil {
		return "", fmt.Errorf("jail one does not reach %s of this host: %w", l.Addr(), err)
	}
	if strings.Contains(got, s.address("one")+":") {
		return "", fmt.Errorf("the address of one is seen outside its network: %q", got)
	}
	return "outside one is " + strings.TrimPrefix(got, "host sees "), nil
}

// benchRange is for tests of networks (RFC 2544); on FreeBSD the links to
// routers have theirs of it.
var benchRange = netip.MustParsePrefix("198.18.0.0/15")

// outside is an address of this host beside loopback, subnet and the host's
// own ends of links to routers, which jails do not reach.
func outside(subnet netip.Prefix) netip.Addr {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Addr{}
	}
	return outsideOf(all, subnet)
}

func outsideOf(all []net.Addr, subnet netip.Prefix) netip.Addr {
	for _, a := range all {
		p, err := netip.ParsePrefix(a.String())
		if err == nil && p.Addr().Is4() && p.Addr().IsGlobalUnicast() && !subnet.Contains(p.Addr()) && !benchRange.Contains(p.Addr()) {
			return p.Addr()
		}
	}
	return netip.Addr{}
}

func (s *scratch) certificate(ctx context.Context) (string, error) {
	return s.inside(ctx, "one", "certificate", "one.selftest.selftest.internal")
}

// limits opens more files than the jail may have.
func (s *scratch) limits(ctx context.Context) (string, error) {
	f := s.hosts[0].Features
	if why := f["limits"]; strings.HasPrefix(why, "no") {
		return "", errSkipped(strings.TrimPrefix(why, "no: "))
	}
	got, err := s.inside(ctx, "one", "files", strconv.Itoa(2*selftestFiles))
	if err != nil {
		return "", err
	}
	n, err := strconv.Atoi(got)
	if err != nil || n >= selftestFiles || n < selftestFiles/4 {
		return "", fmt.Errorf("a process of jail one could open %q files, its limit is %d", got, selftestFiles)
	}
	if got, err = s.inside(ctx, "two", "files", strconv.Itoa(2*selftestFiles)); err != nil || got != strconv.Itoa(2*selftestFiles) {
		return "", errors.Join(fmt.Errorf("a process of jail two, which has no limit, could open %q files", got), err)
	}
	return fmt.Sprintf("a process of one may open %d more files, one of two as many as it likes", n), nil
}

func (s *scratch) stop(ctx context.Context) (string, error) {
	begun := time.Now()
	if _, err := s.client.WantJail(ctx, "one", fsm.WantStopped); err != nil {
		return "", err
	}
	for index := uint64(0); ; {
		rows, at, err := s.client.JailsAfter(ctx, jailsOfSelftest, index, time.Second)
		if err != nil {
			return "", err
		}
		index = at
		for _, r := range rows {
			if r.Name == "one" && r.Phase == "stopped" {
				return fmt.Sprintf("one stopped when asked, after %s", time.Since(begun).Round(10*time.Millisecond)), nil
			}
		}
		if time.Since(begun) > 60*time.Second || ctx.Err() != nil {
			return "", errors.New("jail one did not stop within a minute")
		}
	}
}

// dial reads the line that whoever listens says.
func dial(ctx context.Context, target string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", target)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return "", err
	}
	raw, err := io.ReadAll(io.LimitReader(conn, 1<<10))
	return strings.TrimSpace(string(raw)), err
}
