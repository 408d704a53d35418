package dnsd

import "net/netip"

// Record is one DNS record as it travels to the routers.
type Record struct {
	Name   string     `json:"n"`           // lower case, no trailing dot
	Type   string     `json:"t"`           // A, AAAA, PTR, SRV
	TTL    uint32     `json:"s"`           // seconds
	Addr   netip.Addr `json:"a,omitzero"`  // A, AAAA
	Target string     `json:"g,omitempty"` // PTR, SRV; no trailing dot
	Port   uint16     `json:"p,omitempty"` // SRV
}

// Table is everything that a Zone is made of.
type Table struct {
	Domain  string         `json:"domain"`            // the cluster's, lower case, no trailing dot
	Serial  uint32         `json:"serial"`            // of the SOA: the log index, modulo 2^32
	Reverse []netip.Prefix `json:"reverse,omitempty"` // subnets whose in-addr.arpa and ip6.arpa names are ours
	NS      []netip.Addr   `json:"ns,omitempty"`      // addresses of ns.DOMAIN: the gateways
	Records []Record       `json:"records,omitempty"` // any order
}
