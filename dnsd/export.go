package dnsd

import (
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Export is what another server must be told to answer as z does: Zones that it
// answers for alone, Removed names that it is to forget, and Records to be added,
// as in a zone file, one a line.
type Export struct {
	Zones, Removed, Records []string
}

// Export is everything that z serves, but SOA and NS records; or, with the Zone
// that was exported last, what changed since. Names that changed are among
// Removed, and come again with all of their records.
func (z *Zone) Export(last *Zone) (e Export, whole bool) {
	if last == nil || last.base != z.base || newer(z.since, last.serial) {
		for _, top := range z.base.apexes {
			e.Zones = append(e.Zones, nameOf(top.name))
		}
		z.names.all(func(n *node) { e.add(n) })
		slices.Sort(e.Zones)
		slices.Sort(e.Records)
		return e, true
	}
	seen := map[string]bool{}
	for i := range z.past {
		if !newer(z.past[i].to, last.serial) {
			continue
		}
		for _, c := range z.past[i].changes {
			if seen[c.name] {
				continue
			}
			seen[c.name] = true
			e.Removed = append(e.Removed, nameOf(c.name))
			if n := z.names.get([]byte(c.name), hashOf([]byte(c.name))); n != nil {
				e.add(n)
			}
		}
	}
	return e, false
}

func (e *Export) add(n *node) {
	for _, a := range n.sets {
		if a.typ == dns.TypeSOA || a.typ == dns.TypeNS {
			continue
		}
		for _, rr := range recordsOf(n.name, a) {
			e.Records = append(e.Records, strings.Join(strings.Fields(rr.String()), " "))
		}
	}
}
