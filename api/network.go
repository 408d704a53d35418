package api

import (
	"strconv"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
)

func (s *Server) listNetworks(r *request) error {
	st := s.state(r)
	rows := []NetworkRow{}
	for _, n := range st.Networks.All {
		rows = append(rows, networkRow(st, n))
	}
	return r.reply(st.Index, rows)
}

func (s *Server) showNetwork(r *request) error {
	st := s.state(r)
	n, ok := st.Networks.Get(r.PathValue("name"))
	if !ok {
		return notFound("network", r.PathValue("name"))
	}
	return r.reply(st.Index, networkRow(st, n))
}

func (s *Server) settled(r *request) error {
	index := s.cfg.Log.State().Index
	if text := r.URL.Query().Get("index"); text != "" {
		var err error
		if index, err = strconv.ParseUint(text, 10, 64); err != nil {
			return fail("bad_request", "", "", "index=%q is not a log index", text)
		}
	}
	ctx, cancel, err := r.waiting()
	if err != nil {
		return err
	}
	defer cancel()
	if err := s.cfg.Host.Settled(ctx, index); err != nil {
		if r.Context().Err() != nil || ctx.Err() == nil {
			return err
		}
		return fail("timeout", "host "+string(s.cfg.Host.ID()), "look at the daemon's log: it says what stands in the way", "%v", err)
	}
	return r.reply(s.cfg.Log.State().Index, Settled{Index: index})
}

func networkRow(st *fsm.State, n *fsm.Network) NetworkRow {
	row := NetworkRow{
		Name: n.Name, Subnet: n.Subnet, Gateway: n.Gateway, HostAddr: n.HostAddr, NAT: n.NAT,
		Publish: n.Publish, Allow: n.Allow, Wish: n.Wish, ID: n.ID,
	}
	if n.Subnet6.IsValid() {
		row.Subnet6 = n.Subnet6.String()
	}
	v4 := int64(0)
	for _, l := range st.Leases.Prefix(n.Name + "/") {
		if l.Jail == "" {
			continue
		}
		row.Leases++
		if l.Addr.Is4() {
			v4++
		}
	}
	for _, g := range st.Guests.Prefix(n.Name + "/") {
		if g.Live() {
			row.Leases++
			v4++
		}
	}
	// Network, broadcast, gateway and the host's address are not leased.
	bits := min(n.Subnet.Addr().BitLen()-n.Subnet.Bits(), 32)
	row.Free = max(int64(1)<<bits-4-v4, 0)
	return row
}

func (s *Server) listLeases(r *request) error {
	st := s.state(r)
	network := r.URL.Query().Get("network")
	networks := []string{network}
	if _, ok := st.Networks.Get(network); network != "" && !ok {
		return notFound("network", network)
	}
	if network == "" {
		networks = networks[:0]
		for name := range st.Networks.All {
			networks = append(networks, name)
		}
	}
	p, err := r.page()
	if err != nil {
		return err
	}
	rows, next, err := leasePage(st, networks, p)
	if err != nil {
		return err
	}
	if next != "" {
		r.next(next)
	}
	return r.reply(st.Index, rows)
}

// guestRow is the lease of a machine that is no jail.
func guestRow(g *fsm.Guest) LeaseRow {
	t := g.Expires.Time().Truncate(time.Millisecond)
	return LeaseRow{Network: g.Network, Address: g.Addr, MAC: g.MAC, Hostname: g.Hostname, Expires: &t, Resting: !g.Live()}
}

func leaseRow(l *fsm.Lease) LeaseRow {
	row := LeaseRow{Network: l.Network, Address: l.Addr, MAC: l.MAC, Jail: string(l.Jail), Hostname: l.Hostname}
	if l.Jail == "" {
		row.Resting, row.Hostname = true, string(l.Last)
	}
	if l.Expires != 0 {
		t := l.Expires.Time().Truncate(time.Millisecond)
		row.Expires = &t
	}
	return row
}
