package netd

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// used is an address range that the host uses already.
type used struct {
	Prefix netip.Prefix
	Dev    string // interface
	Owner  string // its alias
}

// overlap returns the first range in use that meets a subnet of n, or nil. Default routes do not count.
func overlap(n Network, inUse []used) *OverlapError {
	for _, subnet := range []netip.Prefix{n.Subnet, n.Subnet6} {
		for _, u := range inUse {
			if subnet.IsValid() && u.Prefix.Bits() > 0 && subnet.Overlaps(u.Prefix) {
				return &OverlapError{Network: n.Name, Subnet: subnet, With: u.Prefix, Dev: u.Dev, Owner: u.Owner}
			}
		}
	}
	return nil
}

// uplink6Base numbers the IPv6 side of uplinks; they never leave the host.
var uplink6Base = netip.MustParseAddr("fd52:6578:4361:7263::")

// planUplinks gives each network a /31 of linkRange: the one that it has (have: id to the host's address), else one that
// its id points to, the next free one if that is taken. Ranges in use that are wider than linkRange do not count:
// some hosts route 169.254.0.0/16 to an interface, and a /31 wins over that.
func planUplinks(linkRange netip.Prefix, nets []Network, have map[string]netip.Addr, inUse []used) (map[string]uplink, error) {
	count := uint32(1) << min(31-linkRange.Bits(), 20)
	taken := map[uint32]bool{}
	got := map[string]uint32{}
	for _, n := range nets {
		if a, ok := have[n.ID]; ok && linkRange.Contains(a) {
			if i := offset(linkRange, a) / 2; !taken[i] {
				got[n.ID], taken[i] = i, true
			}
		}
	}
	free := func(i uint32) bool {
		p := netip.PrefixFrom(addr4(linkRange, 2*i), 31)
		return !taken[i] && !slices.ContainsFunc(inUse, func(u used) bool {
			return u.Prefix.Bits() >= linkRange.Bits() && u.Prefix.Overlaps(p)
		})
	}
	plan := map[string]uplink{}
	for _, n := range nets {
		i, ok := got[n.ID]
		if !ok {
			h := fnv.New32a()
			_, _ = h.Write([]byte(n.ID))
			i = h.Sum32() % count
			for tries := uint32(0); !free(i); tries++ {
				if tries == count {
					return plan, fmt.Errorf("network %s: no free uplink addresses in %v", n.Name, linkRange)
				}
				i = (i + 1) % count
			}
			taken[i] = true
		}
		six := uplink6Base.As16()
		six[13], six[14], six[15] = byte(i>>15), byte(i>>7), byte(i<<1)
		host6 := netip.AddrFrom16(six)
		plan[n.ID] = uplink{Host: addr4(linkRange, 2*i), Router: addr4(linkRange, 2*i+1), Host6: host6, Router6: host6.Next()}
	}
	return plan, nil
}

func offset(p netip.Prefix, a netip.Addr) uint32 { return number(a) - number(p.Masked().Addr()) }

func number(a netip.Addr) uint32 {
	b := a.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

func addr4(p netip.Prefix, n uint32) netip.Addr {
	v := number(p.Masked().Addr()) + n
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)})
}

// peers lists for each network (by name) the others to which its router has a link: those that either side allows.
func peers(nets []Network) map[string][]peer {
	out := map[string][]peer{}
	for _, a := range nets {
		for _, b := range nets {
			in, inPorts := a.opens(b.Name)
			toB, outPorts := b.opens(a.Name)
			if a.Name != b.Name && (in || toB) {
				out[a.Name] = append(out[a.Name], peer{Name: b.Name, ID: b.ID, Subnet: b.Subnet, Subnet6: b.Subnet6,
					Gateway: b.Gateway(), Gateway6: b.Gateway6(), In: in, Out: toB, InPorts: inPorts, OutPorts: outPorts})
			}
		}
	}
	return out
}

// opens says whether jails of the network from may connect to n, and to which ports; none are all.
func (n Network) opens(from string) (bool, []Ports) {
	if slices.Contains(n.Allow, from) {
		return true, nil
	}
	for _, o := range n.Open {
		if o.From == from && len(o.Ports) > 0 {
			return true, merged(o.Ports)
		}
	}
	return false, nil
}

// merged sorts ranges and makes one of those that meet: a set of the kernel takes no range twice.
func merged(ports []Ports) []Ports {
	ports = slices.SortedFunc(slices.Values(ports), func(a, b Ports) int {
		return cmp.Or(strings.Compare(a.Proto, b.Proto), cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last))
	})
	var out []Ports
	for _, p := range ports {
		if k := len(out) - 1; k >= 0 && out[k].Proto == p.Proto && int(p.First) <= int(out[k].Last)+1 {
			out[k].Last = max(out[k].Last, p.Last)
			continue
		}
		out = append(out, p)
	}
	return out
}

// portLists are the ports of each protocol, with separator between the ends of a range: {"tcp": ["443", "8000-8100"]}.
func portLists(ports []Ports, separator string) map[string][]string {
	out := map[string][]string{}
	for _, p := range ports {
		text := strconv.Itoa(int(p.First))
		if p.Last != p.First {
			text += separator + strconv.Itoa(int(p.Last))
		}
		out[p.Proto] = append(out[p.Proto], text)
	}
	return out
}
