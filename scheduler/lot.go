package scheduler

// Hosts of equal score are told apart by lot, so that the first by id does not
// get whatever is indifferent. The lot is a hash of what asks and of the host:
// the same on every machine and in every dry run, so that a plan names the host
// that the jail then gets. It is the same at every start of a group as well: of
// equal hosts the one is chosen that had the jail before and may still have its
// image, and a host that joins or goes changes nothing between the others.

// seedOf is the seed for m and all that are placed with it. A jail that keeps
// failing draws anew at each start: else it would go to and fro between two
// hosts that are broken, and never try a third.
func seedOf(m *member, attempt int) uint64 {
	j := &m.jail.Spec
	if attempt < retryElsewhere {
		return hash(j.Group, 0)
	}
	return hash(j.Name, m.nextSeq())
}

// lot of host h: of hosts of equal score the lowest is chosen.
func (f *fleet) lot(seed uint64, h int32) uint32 { return uint32(mix(seed^f.marks[h]) >> 32) }

// entry is host h with its score, without a term that depends on other hosts.
func (c *class) entry(f *fleet, h int32) entry { return entry{c.own(f, h), f.lot(c.seed, h), h} }

// mix makes each bit of the result depend on all bits of x (the finalizer of
// SplitMix64).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
