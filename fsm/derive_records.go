package fsm

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// TTLs in seconds. A service name follows health, so it may not be cached for
// long; a host name follows a lease, which stays.
const (
	HostTTL    uint32 = 30
	ServiceTTL uint32 = 5
)

// serving reports whether r answers for its jail's services. A Run that was
// asked to stop leaves DNS first.
func (r *Run) serving() bool {
	return r != nil && r.Phase == Running && r.Health == HealthHealthy && r.StopWhy == ""
}

// jailNames are the DNS names of a jail, canonical first: one per network,
// then the hostname as given, then its services'. They are the certificate's.
func jailNames(j *Jail, domain string) []string {
	var names []string
	add := func(n string) {
		if !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	for _, a := range j.Addrs {
		add(fqdn(j.Spec.Name, a.Network, domain))
	}
	for _, a := range j.Addrs {
		for _, n := range hostNames(j, a.Network, domain) {
			add(n)
		}
	}
	for _, s := range j.Spec.Services {
		for _, a := range j.Addrs {
			add(fqdn(s.Name, a.Network, domain))
		}
	}
	return names
}

// hostNames are those that answer as long as the lease: all but the services'.
// A hostname with a dot is served as given.
func hostNames(j *Jail, network, domain string) []string {
	names := []string{fqdn(j.Spec.Name, network, domain)}
	if h := strings.ToLower(j.Spec.Hostname); h != "" {
		if !strings.Contains(h, ".") {
			h = fqdn(h, network, domain)
		}
		if h != names[0] {
			names = append(names, h)
		}
	}
	return names
}

func fqdn(host, network, domain string) string {
	return strings.ToLower(host + "." + network + "." + domain)
}

// recordsOf are all records of j while r is its Run, each key once. It is
// the only place that says what DNS knows: a change is the difference
// between two answers of it.
func recordsOf(j *Jail, r *Run, domain string) []*Record {
	b := recordList{jail: JailName(j.Spec.Name)}
	for _, a := range j.Addrs {
		hosts := hostNames(j, a.Network, domain)
		for _, name := range hosts {
			b.addrs(name, HostTTL, a, "")
		}
		for _, ip := range [2]netip.Addr{a.Addr, a.Addr6} {
			if ip.IsValid() {
				b.add(&Record{Name: ReverseName(ip), Type: "PTR", TTL: HostTTL, Target: hosts[0], Network: a.Network})
			}
		}
		if !r.serving() || len(j.OldAddrs) > 0 { // or it answers at an address that it is about to lose
			continue
		}
		for _, s := range j.Spec.Services {
			name := fqdn(s.Name, a.Network, domain)
			if !slices.Contains(hosts, name) { // the host record says the same already
				b.addrs(name, ServiceTTL, a, s.Name)
			}
			proto := s.Proto
			if proto == "" {
				proto = "tcp"
			}
			b.add(&Record{
				Name: "_" + s.Name + "._" + proto + "." + a.Network + "." + domain, Type: "SRV", TTL: ServiceTTL,
				Target: hosts[0], Port: s.Port, Network: a.Network, Service: s.Name,
			})
		}
	}
	return b.all
}

type recordList struct {
	jail JailName
	all  []*Record
}

func (b *recordList) add(r *Record) {
	r.Jail = b.jail
	b.all = append(b.all, r)
}

func (b *recordList) addrs(name string, ttl uint32, a Addr, service string) {
	if a.Addr.IsValid() {
		b.add(&Record{Name: name, Type: "A", TTL: ttl, Addr: a.Addr, Network: a.Network, Service: service})
	}
	if a.Addr6.IsValid() {
		b.add(&Record{Name: name, Type: "AAAA", TTL: ttl, Addr: a.Addr6, Network: a.Network, Service: service})
	}
}

// syncRecords emits what changes between two lists of one jail's records.
func (t *txn) syncRecords(old, now []*Record) {
	find := func(in []*Record, r *Record) *Record {
		for _, o := range in {
			if o.Name == r.Name && o.Type == r.Type && RecordKey(o) == RecordKey(r) {
				return o
			}
		}
		return nil
	}
	for _, r := range old {
		if find(now, r) == nil {
			t.emit(RecordRemoved{r})
		}
	}
	for _, r := range now {
		if o := find(old, r); o == nil || *o != *r {
			if r.Jail != "" {
				t.unnameGuest(r)
			}
			t.emit(RecordAdded{r})
		}
	}
}

// ReverseName is where the PTR of a is: RFC 1035 section 3.5, RFC 3596
// section 2.5. Lower case, no trailing dot.
func ReverseName(a netip.Addr) string {
	var b strings.Builder
	if a = a.Unmap(); a.Is4() {
		q := a.As4()
		for i := 3; i >= 0; i-- {
			b.WriteString(strconv.Itoa(int(q[i])))
			b.WriteByte('.')
		}
		return b.String() + "in-addr.arpa"
	}
	const digits = "0123456789abcdef"
	q := a.As16()
	for i := 15; i >= 0; i-- {
		b.Write([]byte{digits[q[i]&15], '.', digits[q[i]>>4], '.'})
	}
	return b.String() + "ip6.arpa"
}
