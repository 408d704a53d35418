package proxy

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// server is one place for a member, as haproxy has it.
type server struct {
	Backend, Name string
	Addr          netip.AddrPort
	Admin         int // bits of srv_admin_state (management manual, "show servers state")
}

const (
	adminMaint = 0x01 // forced maintenance: free
	adminDrain = 0x08 // forced drain: no new requests but those that stick
)

func (s server) free() bool     { return s.Admin&adminMaint != 0 }
func (s server) draining() bool { return s.Admin&adminDrain != 0 && !s.free() }

// parseServers reads `show servers state`: a version, a line of names that begins with #, and a line per server.
func parseServers(text string) ([]server, error) {
	var names []string
	var out []server
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		switch {
		case len(f) == 0 || len(f) == 1 && names == nil:
			continue // version
		case f[0] == "#":
			names = f[1:]
			continue
		case len(f) != len(names):
			return nil, fmt.Errorf("servers of haproxy: line %q has %d fields, not %d", line, len(f), len(names))
		}
		get := func(name string) string {
			if i := slices.Index(names, name); i >= 0 {
				return f[i]
			}
			return ""
		}
		admin, err := strconv.Atoi(get("srv_admin_state"))
		if err != nil {
			return nil, fmt.Errorf("servers of haproxy: %q is no state", get("srv_admin_state"))
		}
		port, err := strconv.ParseUint(get("srv_port"), 10, 16)
		if err != nil {
			return nil, fmt.Errorf("servers of haproxy: %q is no port", get("srv_port"))
		}
		addr, err := netip.ParseAddr(get("srv_addr"))
		if err != nil {
			return nil, fmt.Errorf("servers of haproxy: %w", err)
		}
		out = append(out, server{get("be_name"), get("srv_name"), netip.AddrPortFrom(addr, uint16(port)), admin & (adminMaint | adminDrain)})
	}
	return out, nil
}

// place is one server that is to be emptied.
type place struct{ backend, name string }

// step is what one command is for.
type step struct {
	command string
	drain   place // set: this place begins to drain
}

// steps bring the servers of p's backend to its members. Places that drain are taken again for their old member, never for
// another one. short says that there are too few.
func steps(p Port, have []server) (out []step, short bool) {
	be := backend(p.Port)
	var free, mine []server
	for _, s := range have {
		if s.Backend != be {
			continue
		}
		if s.free() {
			free = append(free, s)
		} else {
			mine = append(mine, s)
		}
	}
	for _, m := range p.Members {
		i := slices.IndexFunc(mine, func(s server) bool { return s.Addr == m })
		switch {
		case i >= 0:
			if mine[i].Admin != 0 {
				out = append(out, step{command: fmt.Sprintf("set server %s/%s state ready", be, mine[i].Name)})
			}
			mine = slices.Delete(mine, i, i+1)
		case len(free) == 0:
			short = true
		default:
			s := free[0]
			free = free[1:]
			out = append(out, step{command: fmt.Sprintf("set server %s/%s addr %s port %d", be, s.Name, m.Addr(), m.Port())},
				step{command: fmt.Sprintf("set server %s/%s state ready", be, s.Name)})
		}
	}
	for _, s := range mine {
		next := step{drain: place{be, s.Name}}
		if !s.draining() {
			next.command = fmt.Sprintf("set server %s/%s state drain", be, s.Name)
		}
		out = append(out, next)
	}
	return out, short
}
