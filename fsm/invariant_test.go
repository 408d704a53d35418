package fsm

// checkInvariants asserts what is true of every State that Apply can make.
func checkInvariants(tb fataler, s *State) {
	tb.Helper()
	checkLeases(tb, s)
	checkGuests(tb, s)
	checkRuns(tb, s)
	checkRecords(tb, s)
	checkGroups(tb, s)
	checkOverlay(tb, s)
	checkMoves(tb, s)
}

func checkLeases(tb fataler, s *State) {
	tb.Helper()
	held := make(map[string]JailName)
	for key, l := range s.Leases.All {
		if key != LeaseKey(l.Network, l.Addr) {
			tb.Fatalf("lease %s %s has the key %q", l.Network, l.Addr, key)
		}
		n, ok := s.Networks.Get(l.Network)
		if !ok {
			tb.Fatalf("lease %s %s: no such network", l.Network, l.Addr)
		}
		if err := n.Assignable(l.Addr); err != nil {
			tb.Fatalf("lease %s %s: %v", l.Network, l.Addr, err)
		}
		if l.Jail == "" {
			continue
		}
		if _, ok := s.Jails.Get(string(l.Jail)); !ok {
			tb.Fatalf("lease %s %s belongs to jail %s, which does not exist", l.Network, l.Addr, l.Jail)
		}
		held[key] = l.Jail
		if g, ok := s.Guests.Get(key); ok {
			tb.Fatalf("jail %s and guest %s both have %s", l.Jail, g.MAC, l.Addr)
		}
	}
	for name, j := range s.Jails.All {
		if len(j.Addrs) != len(j.Spec.NICs) {
			tb.Fatalf("jail %s has %d NICs and %d addresses", name, len(j.Spec.NICs), len(j.Addrs))
		}
		for _, a := range append(append([]Addr(nil), j.Addrs...), j.OldAddrs...) {
			if a.Addr.IsValid() {
				if held[LeaseKey(a.Network, a.Addr)] != JailName(name) {
					tb.Fatalf("jail %s has %s without a lease", name, a.Addr)
				}
				delete(held, LeaseKey(a.Network, a.Addr))
			}
			if a.Addr6.IsValid() {
				if held[LeaseKey(a.Network, a.Addr6)] != JailName(name) {
					tb.Fatalf("jail %s has %s without a lease", name, a.Addr6)
				}
				delete(held, LeaseKey(a.Network, a.Addr6))
			}
		}
	}
	for key, j := range held {
		tb.Fatalf("lease %q of jail %s is not among its addresses", key, j)
	}
}

// checkGuests: a client is known at one address of a network, and is found by
// who it is.
func checkGuests(tb fataler, s *State) {
	tb.Helper()
	known := 0
	for key, g := range s.Guests.All {
		n, ok := s.Networks.Get(g.Network)
		if !ok || key != LeaseKey(g.Network, g.Addr) || n.Assignable(g.Addr) != nil {
			tb.Fatalf("guest %s has %s of network %s, key %q", g.MAC, g.Addr, g.Network, key)
		}
		if g.Client == "" {
			if g.Live() {
				tb.Fatalf("%s is leased to nobody", g.Addr)
			}
			continue
		}
		known++
		if at := s.GuestOf(g.Network, g.Client); at != g {
			tb.Fatalf("guest %s has %s, and is looked for at %+v", g.Client, g.Addr, at)
		}
	}
	if s.clients.Len() != known {
		tb.Fatalf("%d clients are looked for, %d are known", s.clients.Len(), known)
	}
}

func checkRuns(tb fataler, s *State) {
	tb.Helper()
	load := make(map[HostID]Resources)
	live := 0
	for name, r := range s.Runs.All {
		if string(r.Jail) != name {
			tb.Fatalf("run of %s has the key %s", r.Jail, name)
		}
		if _, ok := s.Jails.Get(name); !ok {
			tb.Fatalf("run %d of jail %s, which does not exist", r.Seq, name)
		}
		if r.Phase.Over() {
			continue
		}
		live++
		load[r.Host] = load[r.Host].Add(r.Res)
		if b, ok := s.ByHost.Get(hostKey(r.Host, r.Jail)); !ok || b != r {
			tb.Fatalf("run %d of jail %s is not in ByHost", r.Seq, name)
		}
		if h, ok := s.Hosts.Get(string(r.Host)); !ok || h.State == HostLost {
			tb.Fatalf("run %d of jail %s is live on host %s, which is lost or unknown", r.Seq, name, r.Host)
		}
	}
	if s.ByHost.Len() != live {
		tb.Fatalf("ByHost has %d Runs, %d are live", s.ByHost.Len(), live)
	}
	if s.Load.Len() != len(load) {
		tb.Fatalf("Load has %d hosts, %d have Runs", s.Load.Len(), len(load))
	}
	for id, want := range load {
		if got, _ := s.Load.Get(string(id)); got != want {
			tb.Fatalf("Load of host %s is %+v, its Runs have %+v", id, got, want)
		}
		if h, _ := s.Hosts.Get(string(id)); !h.Capacity.Fits(want, Resources{}) {
			tb.Fatalf("host %s is over-committed: %+v of %+v", id, want, h.Capacity)
		}
	}
}

// checkRecords compares Records and Certs with what the jails are to have.
func checkRecords(tb fataler, s *State) {
	tb.Helper()
	want := 0
	for name, j := range s.Jails.All {
		r, _ := s.Runs.Get(name)
		for _, rec := range recordsOf(j, r, s.Cluster.Domain) {
			got, ok := s.Records.Get(RecordKey(rec))
			if !ok || *got != *rec {
				tb.Fatalf("record %s %s of jail %s is missing or differs", rec.Name, rec.answer(), name)
			}
			want++
		}
		c, ok := s.Certs.Get(name)
		if !ok || len(c.Names) != len(j.Names) {
			tb.Fatalf("jail %s has the names %v, its certificate %+v", name, j.Names, c)
		}
	}
	for _, g := range s.Guests.All {
		for _, rec := range guestRecords(g, s.Cluster.Domain) {
			if got, ok := s.Records.Get(RecordKey(rec)); !ok || *got != *rec {
				tb.Fatalf("record %s %s of guest %s is missing or differs", rec.Name, rec.answer(), g.MAC)
			}
			want++
		}
		if name := g.FQDN(s.Cluster.Domain); name != "" && g.Live() {
			for _, rec := range s.Records.Prefix(name + "/") {
				if rec.Jail != "" || rec.Addr != g.Addr {
					tb.Fatalf("%s is a name of guest %s and of %+v", name, g.MAC, rec)
				}
			}
		}
	}
	if s.Records.Len() != want {
		tb.Fatalf("%d records, the jails have %d", s.Records.Len(), want)
	}
	if s.Certs.Len() != s.Jails.Len() {
		tb.Fatalf("%d certificates for %d jails", s.Certs.Len(), s.Jails.Len())
	}
}

func checkGroups(tb fataler, s *State) {
	tb.Helper()
	members := 0
	for name, g := range s.Groups.All {
		if len(g.Jails) == 0 {
			tb.Fatalf("group %s is empty", name)
		}
		last := -1
		for _, jn := range g.Jails {
			j, ok := s.Jails.Get(string(jn))
			if !ok || j.Spec.Group != name || j.Wish != g.Wish {
				tb.Fatalf("group %s lists jail %s, which is not its own", name, jn)
			}
			if j.Spec.Index <= last {
				tb.Fatalf("group %s is not sorted: %v", name, g.Jails)
			}
			last = j.Spec.Index
			members++
		}
	}
	if members != s.Jails.Len() {
		tb.Fatalf("groups have %d members, there are %d jails", members, s.Jails.Len())
	}
}

// checkOverlay: an address on the overlay and a key belong to one host.
func checkOverlay(tb fataler, s *State) {
	tb.Helper()
	numbers, keys := map[uint32]HostID{}, map[string]HostID{}
	for _, h := range s.Hosts.All {
		if h.Overlay == nil {
			continue
		}
		if other, twice := numbers[h.Overlay.N]; twice || h.Overlay.N == 0 {
			tb.Fatalf("hosts %s and %s have number %d on the overlay", other, h.ID, h.Overlay.N)
		}
		numbers[h.Overlay.N] = h.ID
		for _, k := range []string{h.Overlay.Key, h.Overlay.Next} {
			if other, twice := keys[k]; twice {
				tb.Fatalf("hosts %s and %s have the key %s on the overlay", other, h.ID, k)
			}
			if k != "" {
				keys[k] = h.ID
			}
		}
	}
}
