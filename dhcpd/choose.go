package dhcpd

import "net/netip"

// How far a search for a free address goes.
const (
	fewProbes  = 64   // always
	manyProbes = 4096 // some times a second: a full range must not cost everybody's time
)

// choose picks the address to offer: what is reserved for the client, what it
// has or had, what it asks for, else one that its name leads to. The same
// client is led to the same address on every host, also when all memory of it
// is lost, and two hosts seldom offer one address to two clients.
func (v *View) choose(r *Request) (netip.Addr, bool) {
	if a, _ := v.reservation(r.MAC); a.IsValid() {
		if ok, _ := v.free(r.Client, a); ok {
			return a, true
		}
	}
	if g := v.State.GuestOf(v.Network.Name, r.Client); g != nil && v.offersAt(r, g.Addr) {
		if ok, _ := v.free(r.Client, g.Addr); ok {
			return g.Addr, true
		}
	}
	if r.Requested.IsValid() && v.offersAt(r, r.Requested) {
		if ok, _ := v.free(r.Client, r.Requested); ok {
			return r.Requested, true
		}
	}
	return v.search(r)
}

func (v *View) search(r *Request) (netip.Addr, bool) {
	ranges := v.Network.DHCPRanges()
	var size int64
	for _, x := range ranges {
		size += x.Size()
	}
	if size <= 0 {
		return netip.Addr{}, false
	}
	at := func(i int64) netip.Addr {
		for _, x := range ranges {
			if i < x.Size() {
				return x.At(i)
			}
			i -= x.Size()
		}
		return netip.Addr{}
	}
	var used netip.Addr // free, but somebody had it: kept for him as long as there are others
	probe := func(start, stride, n int64) (netip.Addr, bool) {
		for i := range min(n, size) {
			a := at((start + i*stride) % size)
			ok, fresh := v.free(r.Client, a)
			if !ok || !v.offersAt(r, a) {
				continue
			}
			if fresh {
				return a, true
			}
			if !used.IsValid() {
				used = a
			}
		}
		return netip.Addr{}, false
	}
	start, stride := steps(r.Client, size)
	if a, ok := probe(start, stride, fewProbes); ok {
		return a, true
	}
	if !used.IsValid() && v.Scan != nil && v.Scan() { // elsewhere each time: the client asks again with another transaction
		start, _ := steps(r.Client+string(r.packet.TransactionID[:]), size)
		if a, ok := probe(start, 1, manyProbes); ok {
			return a, true
		}
	}
	return used, used.IsValid()
}

// steps is where a search among size addresses begins, and how far apart its
// probes are: as a rule leased addresses lie side by side, and a search that
// goes from one to the next would not leave them. The steps reach all addresses.
func steps(name string, size int64) (start, stride int64) {
	h := spread(name)
	start, stride = int64(h%uint64(size)), int64(h>>32)%size
	for gcd(stride, size) != 1 {
		stride++
	}
	return start, stride
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// spread is FNV-1a with a last stir, the same on every host and for ever.
func spread(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	return h ^ h>>33
}
