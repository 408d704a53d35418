package proxy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Config is the whole wish for one network's proxy.
type Config struct {
	Ports []Port
	V6    bool   // the network has IPv6
	Run   string // directory of the sockets, as haproxy sees it
}

// Port is one published port.
type Port struct {
	Port    uint16
	Members []netip.AddrPort // sorted
	Drain   time.Duration    // how long a request to a member that left may take; 0 is for ever
}

// Names in the directory of a proxy.
const (
	File   = "haproxy.cfg"
	Admin  = "admin.sock"  // the runtime socket
	Master = "master.sock" // the one that reloads
)

// Argv starts haproxy: a master that stays, and a worker that a reload replaces.
func Argv(binary, run string) []string {
	return []string{binary, "-W", "-S", run + "/" + Master + ",mode,600", "-f", run + "/" + File}
}

// minSlots is how many places for members a port has at least.
const minSlots = 16

// slots is the number of places: twice the members, as a power of two, so that few changes need a reload.
func (p Port) slots() int {
	n := minSlots
	for n < 2*len(p.Members) {
		n *= 2
	}
	return n
}

func backend(port uint16) string { return fmt.Sprintf("b_%d", port) }

// structure is what only a reload changes: the file without its members.
func (c Config) structure() string {
	bare := Config{V6: c.V6, Run: c.Run}
	text := ""
	for _, p := range c.Ports {
		bare.Ports = append(bare.Ports, Port{Port: p.Port})
		text += fmt.Sprintf("%d %d\n", p.Port, p.slots())
	}
	sum := sha256.Sum256([]byte(text + bare.text("")))
	return "rexcarcer-" + hex.EncodeToString(sum[:8])
}

// Text is the file for haproxy (configuration manual of 2.6; nothing that came later).
func (c Config) Text() string { return c.text(c.structure()) }

func (c Config) text(structure string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `global
    description %s
    log stdout format raw daemon notice
    stats socket %s/%s mode 600 level admin expose-fd listeners

defaults
    mode http
    log global
    option dontlognull
    option forwardfor
    option redispatch
    option http-keep-alive
    retries 3
    retry-on conn-failure
    timeout connect 2s
    timeout http-request 30s
    timeout client 5m
    timeout server 5m
    timeout tunnel 24h
    timeout queue 10s
`, structure, c.Run, Admin)
	for _, p := range c.Ports {
		fmt.Fprintf(&b, "\nfrontend f_%d\n    bind 0.0.0.0:%d\n", p.Port, p.Port)
		if c.V6 {
			fmt.Fprintf(&b, "    bind [::]:%d v6only\n", p.Port)
		}
		// What a client says of itself is not believed: the members see who really came.
		b.WriteString("    http-request del-header X-Forwarded-For\n    http-request set-header X-Forwarded-Proto http\n")
		fmt.Fprintf(&b, "    http-request set-header X-Forwarded-Port %d\n    default_backend %s\n", p.Port, backend(p.Port))
		fmt.Fprintf(&b, "\nbackend %s\n    balance roundrobin\n", backend(p.Port))
		for i := range p.slots() {
			if i < len(p.Members) {
				fmt.Fprintf(&b, "    server m%d %s\n", i+1, p.Members[i])
			} else {
				fmt.Fprintf(&b, "    server m%d 127.0.0.1:1 disabled\n", i+1)
			}
		}
	}
	return b.String()
}

// clone has the ports sorted and their members too.
func (c Config) clone() Config {
	c.Ports = slices.Clone(c.Ports)
	slices.SortFunc(c.Ports, func(a, b Port) int { return int(a.Port) - int(b.Port) })
	for i := range c.Ports {
		c.Ports[i].Members = slices.Clone(c.Ports[i].Members)
		slices.SortFunc(c.Ports[i].Members, netip.AddrPort.Compare)
	}
	return c
}
