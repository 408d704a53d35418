package fsm

// Reads that several packages need. All are safe on any State, and none
// changes it.

// RunsOn are the Runs on a host that are not over, by jail name.
func (s *State) RunsOn(h HostID) []*Run {
	var runs []*Run
	for _, r := range s.ByHost.Prefix(string(h) + "/") {
		runs = append(runs, r)
	}
	return runs
}

// LiveRun is the jail's Run, nil if it has none that is not over.
func (s *State) LiveRun(j JailName) *Run {
	if r, ok := s.Runs.Get(string(j)); ok && !r.Phase.Over() {
		return r
	}
	return nil
}

// NextSeq is the Seq that PlaceJail must carry now.
func (s *State) NextSeq(j JailName) uint64 {
	if r, ok := s.Runs.Get(string(j)); ok {
		return r.Seq + 1
	}
	if jail, ok := s.Jails.Get(string(j)); ok {
		return jail.SeqBase + 1
	}
	return 1
}

// GroupHealthy counts the jails of a group that are to stay, and those of
// them that are running and healthy and not asked to stop.
func (s *State) GroupHealthy(group string) (healthy, total int) {
	g, ok := s.Groups.Get(group)
	if !ok {
		return 0, 0
	}
	for _, name := range g.Jails {
		if j, ok := s.Jails.Get(string(name)); !ok || j.Want == WantGone {
			continue
		}
		total++
		if r, ok := s.Runs.Get(string(name)); ok && r.serving() {
			healthy++
		}
	}
	return healthy, total
}

// JailFQDN is HOST.NETWORK.DOMAIN, lower case, without trailing dot.
func (s *State) JailFQDN(j JailName, network string) string {
	return fqdn(string(j), network, s.Cluster.Domain)
}

// ImageKeyOf is the Key that the jail's next Run will use, "" if there is no
// such jail.
func (s *State) ImageKeyOf(j JailName) string {
	if jail, ok := s.Jails.Get(string(j)); ok {
		return jail.Spec.ImageKey
	}
	return ""
}

// ImageByKey is a recipe whose Key is key: first of the names in order, nil if
// no name means it now.
func (s *State) ImageByKey(key string) *Image {
	for _, im := range s.Images.All {
		if im.Key == key {
			return im
		}
	}
	return nil
}

// FreeOn is what is left of a host's capacity. A dimension without a limit
// (capacity 0) comes as 0 or less: see Resources.Fits.
func (s *State) FreeOn(h HostID) Resources {
	host, ok := s.Hosts.Get(string(h))
	if !ok {
		return Resources{}
	}
	used, _ := s.Load.Get(string(h))
	return host.Capacity.Sub(used)
}

// LeasesIn are the leases of a network in the order of their addresses, those
// that rest (Jail "") among them.
func (s *State) LeasesIn(network string) []*Lease {
	var leases []*Lease
	for _, l := range s.Leases.Prefix(network + "/") {
		leases = append(leases, l)
	}
	return leases
}
