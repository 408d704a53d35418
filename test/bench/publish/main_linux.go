// Command publish measures a published port beside a DNAT rule written by hand for the same client, host and jail: one
// stream, and new connections a second. Ours leads through the network's router, the other's straight to the bridge.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/run"
	"github.com/rexcarcer/rexcarcer/netd"
	"github.com/rexcarcer/rexcarcer/test/bench/report"
)

const (
	goal = 0.95
	port = 15432
)

func main() {
	rounds := flag.Int("rounds", 7, "measurements of each, by turns")
	length := flag.Duration("length", time.Second, "of each")
	workers := flag.Int("workers", 4, "clients that connect side by side")
	flag.Parse()
	if err := bench(*rounds, *length, *workers); err != nil {
		fmt.Fprintln(os.Stderr, "bench publish:", err)
		os.Exit(1)
	}
}

// side is a client's namespace, and where it finds the port.
type side struct {
	client, server string
	listen, addr   netip.AddrPort
	stream, news   *[]float64
	cost           *[]float64
}

func bench(rounds int, length time.Duration, workers int) (err error) {
	ctx := context.Background()
	l := &lab{ctx: ctx, name: fmt.Sprintf("rexpub%d", os.Getpid())}
	defer func() { err = errors.Join(err, l.close()) }()
	stream := report.Row{Name: "one TCP stream to a published port", Unit: "Mbit/s", PeerName: "DNAT by hand", HigherIsBetter: true}
	news := report.Row{Name: "new connections to it", Unit: "conn/s", PeerName: "DNAT by hand", HigherIsBetter: true}
	cost := report.Row{Name: "processor time of a connection", Unit: "us", PeerName: "DNAT by hand"}
	ours, err := l.ours()
	if err != nil {
		return fmt.Errorf("publish a port: %w", err)
	}
	hand, err := l.byHand()
	if err != nil {
		return fmt.Errorf("set up a rule by hand: %w", err)
	}
	ours.stream, ours.news, ours.cost = &stream.Ours, &news.Ours, &cost.Ours
	hand.stream, hand.news, hand.cost = &stream.Peer, &news.Peer, &cost.Peer
	for i := range rounds {
		both := []side{ours, hand}
		if i%2 == 1 {
			both = []side{hand, ours}
		}
		for _, s := range both {
			rate, err := throughput(s, length)
			if err != nil {
				return err
			}
			n, us, err := connections(s, length, workers)
			if err != nil {
				return err
			}
			*s.stream, *s.news, *s.cost = append(*s.stream, rate), append(*s.news, n), append(*s.cost, us)
		}
	}
	if err := report.Write("publish", []report.Row{stream, news, cost}); err != nil {
		return err
	}
	for _, r := range []report.Row{stream, news} {
		if r.Ratio() < goal {
			fmt.Printf("%s: %.2f of the rule by hand, the goal is %.2f\n", r.Name, r.Ratio(), goal)
		}
	}
	return nil
}

// lab is the namespaces: named by this process, so that a second bench does no harm.
type lab struct {
	ctx    context.Context //nolint:containedctx // of the whole bench
	name   string
	ns     []string
	driver netd.Driver
	dir    string
}

func (l *lab) sh(line string) error {
	_, err := run.Real{}.Run(l.ctx, run.Cmd{Argv: strings.Fields(line)})
	return err
}

// pair makes a client and a host with a cable between them: 192.0.2.1 and 192.0.2.2.
func (l *lab) pair(kind string) (client, host string, err error) {
	client, host = l.name+kind+"c", l.name+kind+"h"
	l.ns = append(l.ns, client, host)
	for _, line := range []string{
		"ip netns add " + client, "ip netns add " + host,
		"ip -n " + client + " link set lo up", "ip -n " + host + " link set lo up",
		"ip -n " + client + " link add eth0 type veth peer name eth0 netns " + host,
		"ip -n " + client + " addr add 192.0.2.1/24 dev eth0", "ip -n " + host + " addr add 192.0.2.2/24 dev eth0",
		"ip -n " + client + " link set eth0 up", "ip -n " + host + " link set eth0 up",
		"ip -n " + host + " route add default via 192.0.2.1",
	} {
		if err := l.sh(line); err != nil {
			return "", "", err
		}
	}
	return client, host, nil
}

func nsPath(name string) string { return filepath.Join("/run/netns", name) }

// ours is a network with a published port, made by netd.
func (l *lab) ours() (s side, err error) {
	client, host, err := l.pair("o")
	if err != nil {
		return s, err
	}
	if l.dir, err = os.MkdirTemp("", "rexpub"); err != nil {
		return s, err
	}
	if l.driver, err = netd.New(netd.Options{Instance: "bench", RunDir: filepath.Join(l.dir, "run"), HostNS: nsPath(host), Runner: run.Real{}}); err != nil {
		return s, err
	}
	s = side{client: nsPath(client), listen: netip.MustParseAddrPort("10.66.0.3:80"), addr: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.2"), port)}
	n := netd.Network{Name: "lan", ID: "0bec0001", Subnet: netip.MustParsePrefix("10.66.0.0/24"), NAT: true,
		Publish: []netd.Publish{{HostPort: port, Members: []netip.AddrPort{s.listen}}}}
	if err := l.driver.Set(l.ctx, netd.Config{Networks: []netd.Network{n}}); err != nil {
		return s, err
	}
	s.server, err = l.driver.Attach(l.ctx, netd.NSConfig{ID: "0bec0002", Name: "member", Ports: []netd.Port{{Network: "lan", Addr: s.listen.Addr()}}})
	return s, err
}

// byHand is what one would write without us: a bridge, a jail on it, forwarding, one DNAT rule.
func (l *lab) byHand() (s side, err error) {
	client, host, err := l.pair("p")
	if err != nil {
		return s, err
	}
	jail := l.name + "pj"
	l.ns = append(l.ns, jail)
	for _, line := range []string{
		"ip netns add " + jail, "ip -n " + jail + " link set lo up",
		"ip -n " + host + " link add br0 type bridge", "ip -n " + host + " link set br0 up", "ip -n " + host + " addr add 10.66.0.1/24 dev br0",
		"ip -n " + host + " link add v0 type veth peer name eth0 netns " + jail, "ip -n " + host + " link set v0 master br0 up",
		"ip -n " + jail + " addr add 10.66.0.3/24 dev eth0", "ip -n " + jail + " link set eth0 up", "ip -n " + jail + " route add default via 10.66.0.1",
		"ip netns exec " + host + " sysctl -qw net.ipv4.ip_forward=1",
		"ip netns exec " + host + " nft add table ip hand",
		"ip netns exec " + host + " nft add chain ip hand pre { type nat hook prerouting priority dstnat ; }",
		fmt.Sprintf("ip netns exec %s nft add rule ip hand pre ip daddr 192.0.2.2 tcp dport %d dnat to 10.66.0.3:80", host, port),
	} {
		if err := l.sh(line); err != nil {
			return s, err
		}
	}
	return side{client: nsPath(client), server: nsPath(jail), listen: netip.MustParseAddrPort("10.66.0.3:80"),
		addr: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.2"), port)}, nil
}

func (l *lab) close() error {
	var errs []error
	if l.driver != nil {
		errs = append(errs, l.driver.Teardown(l.ctx), l.driver.Close())
	}
	for _, n := range l.ns {
		errs = append(errs, l.sh("ip netns del "+n))
	}
	if l.dir != "" {
		errs = append(errs, os.RemoveAll(l.dir))
	}
	return errors.Join(errs...)
}
