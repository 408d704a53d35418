package netsock

import "net/netip"

// Version of the protocol. It changes only when an old peer could not do with
// what a new one says; fields and types are added without it.
const Version = 1

// Limits of what is said.
const (
	MaxMessage = 4 << 10  // bytes of a request
	maxReply   = 32 << 10 // bytes of a reply
	pagePeers  = 100      // peers in one reply
)

// The types of a Request.
const (
	TypeSelf  = "self"  // who am I in this network?
	TypePeers = "peers" // whom do I reach? Reply.Next says where the next page begins
	TypePeer  = "peer"  // one of them, by Request.Name
	TypeLeave = "leave" // stop me, and do not start me again
)

// TypeError is the type of a Reply that refuses; otherwise it is the request's.
const TypeError = "error"

// Request is what a jail asks.
type Request struct {
	V     int    `json:"v"`               // Version
	ID    uint64 `json:"id,omitempty"`    // of the peer's choice: its reply has it too
	Type  string `json:"type"`            // one of the above
	Name  string `json:"name,omitempty"`  // TypePeer: a jail
	After string `json:"after,omitempty"` // TypePeers: Reply.Next of the page before
}

// Reply is what it hears.
type Reply struct {
	V    int    `json:"v"`
	ID   uint64 `json:"id,omitempty"`
	Type string `json:"type"`

	Self  *Self  `json:"self,omitempty"`  // of TypeSelf
	Peers []Peer `json:"peers,omitempty"` // of TypePeers and TypePeer
	Next  string `json:"next,omitempty"`  // of TypePeers: there are more, after this

	Code string `json:"code,omitempty"` // of TypeError: bad_request, too_large, version, unknown_type, not_found, gone, failed
	Text string `json:"text,omitempty"` // of TypeError, for people
}

// Self is a jail's own place in the network whose socket this is.
type Self struct {
	Name      string       `json:"name"`
	Hostname  string       `json:"hostname"`
	FQDN      string       `json:"fqdn"`
	UUID      string       `json:"uuid"`
	Network   string       `json:"network"`
	Domain    string       `json:"domain"` // of the cluster
	Host      string       `json:"host"`   // that it runs on
	NICs      []NIC        `json:"nics"`
	Gateway   netip.Addr   `json:"gateway"` // also its DNS server
	Gateway6  netip.Addr   `json:"gateway6,omitzero"`
	Subnet    netip.Prefix `json:"subnet"`
	Subnet6   netip.Prefix `json:"subnet6,omitzero"`
	Reachable []string     `json:"reachable"` // networks whose jails it may connect to
	Index     uint64       `json:"index"`     // of the log, that this is true of
}

// NIC is one interface of the jail in the network.
type NIC struct {
	Interface string     `json:"interface"`
	MAC       string     `json:"mac"`
	Address   netip.Addr `json:"address"`
	Address6  netip.Addr `json:"address6,omitzero"`
}

// Peer is a jail that the asking one reaches.
type Peer struct {
	Name     string     `json:"name"`
	Network  string     `json:"network"`
	Address  netip.Addr `json:"address"`
	Address6 netip.Addr `json:"address6,omitzero"`
	FQDN     string     `json:"fqdn"`
	Health   string     `json:"health"` // healthy, unhealthy, unknown
}
