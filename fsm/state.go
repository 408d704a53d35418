package fsm

import (
	"net/netip"

	"github.com/rexcarcer/rexcarcer/spec"
)

// State is everything that the cluster knows, at one log index. It is
// immutable: hold the pointer, read without a lock.
type State struct {
	Index uint64   // of the last entry that was folded
	Now   Time     // the highest Entry.At so far
	Chain [32]byte // hash of (previous Chain, entry bytes)

	// PlanIndex is the index of the last entry that changed what a plan
	// depends on: wishes, networks, images, jails, leases, hosts. Reports,
	// health and certificates do not move it.
	PlanIndex uint64
	// RecordsIndex is the index of the last entry that changed Records.
	RecordsIndex uint64

	Cluster  Cluster
	Wishes   Tree[*spec.Wish] // by Wish.Name
	Networks Tree[*Network]   // by name
	Images   Tree[*Image]     // by name: what the name means now
	Builds   Tree[*Build]     // by Key: who holds it
	Jails    Tree[*Jail]      // by name
	Groups   Tree[*Group]     // by group name
	Runs     Tree[*Run]       // by jail: its newest Run
	ByHost   Tree[*Run]       // by host + "/" + jail: Runs that are not over
	Leases   Tree[*Lease]     // by LeaseKey
	Guests   Tree[*Guest]     // by LeaseKey: machines that are no jails
	Records  Tree[*Record]    // by RecordKey
	Certs    Tree[*Cert]      // by jail
	Hosts    Tree[*Host]      // by id
	Tokens   Tree[*Token]     // by id
	Denied   Tree[*Denied]    // by host id: who may not come back
	Revoked  Tree[*Revoked]   // certificates that are refused, see IsRevoked
	Signers  Tree[*Signer]    // by fingerprint: whose signatures on bases count
	Bases    Tree[*Base]      // by Ref: what a reference means
	Moves    Tree[*Move]      // by Object + "/" + ID: what goes from host to host
	Volumes  Tree[*Volume]    // by id: who has it
	Load     Tree[Resources]  // by host: sum over its Runs that are not over

	// Ids of entries: young is filled until it holds maxIDs, then it becomes
	// old. So the newest maxIDs are always known, at one write an entry.
	young, old Tree[idResult]

	parts Tree[*restoring] // of a snapshot that is being brought back

	lostSeq uint64 // highest Seq of a Run that was ever lost with its host

	// Where free addresses are; see evolve_lease.go. They follow from Leases.
	pools   Tree[pool]
	free    Tree[struct{}]
	resting Tree[string]
	lasts   Tree[string]
	clients Tree[*Guest] // by clientKey; follows from Guests
}

// Cluster is what Genesis set.
type Cluster struct {
	ID        string `json:"id"`     // 8..64 of [a-z0-9-]
	Domain    string `json:"domain"` // no trailing dot
	CA        string `json:"ca"`     // PEM, newest first; keys never enter the log
	CreatedAt Time   `json:"created_at"`

	CAs []CA `json:"cas,omitempty"` // from the first rotation or import on; CA follows from it

	GossipKeys [3]string `json:"gossip_keys,omitzero"` // hex, newest first; the older ones are still understood
	Generation uint64    `json:"generation,omitempty"` // raised by recovery from a lost quorum
}

// Network is a declared network and what was derived from it.
type Network struct {
	spec.Network
	Wish     string     `json:"wish"`
	ID       string     `json:"id"`        // 8 hex, for interface names
	Gateway  netip.Addr `json:"gateway"`   // first address
	HostAddr netip.Addr `json:"host_addr"` // second address, reserved for the hosts
	Gateway6 netip.Addr `json:"gateway6,omitzero"`
	Gone     bool       `json:"gone,omitempty"` // no longer wished: removed with the last jail in it
}

// Image is a name and what it means.
type Image struct {
	spec.Image
	Wish string `json:"wish,omitempty"` // "" when `image build` tagged it
}

// Build is a Key that exists somewhere.
type Build struct {
	Key     string   `json:"key"`
	Hosts   []HostID `json:"hosts"` // sorted
	Bytes   int64    `json:"bytes"`
	BuiltAt Time     `json:"built_at"`
	Base    *Base    `json:"base,omitempty"` // what it stands on, where that was pinned
}

// Want is what the user wants of a jail.
type Want string

// What can be wanted.
const (
	WantRunning Want = "running"
	WantStopped Want = "stopped"
	WantGone    Want = "gone" // removed as soon as its Run is over
)

// Jail is a replica slot: what lasts over Runs. Its address, names and
// certificate belong to it, not to a host.
type Jail struct {
	Spec      spec.Jail `json:"spec"`
	Wish      string    `json:"wish"`
	UUID      string    `json:"uuid"` // derived from cluster, name and the creating index
	Want      Want      `json:"want"`
	Hash      string    `json:"hash"`    // of what a running jail cannot take over in place
	Restart   uint64    `json:"restart"` // raised by RestartJail: Runs with a lower one are replaced
	Addrs     []Addr    `json:"addrs"`   // one per NIC, in order
	Names     []string  `json:"names"`   // DNS names, canonical first; the certificate's
	CreatedAt Time      `json:"created_at"`
	SpecIndex uint64    `json:"spec_index"` // entry that last changed Spec

	// OldAddrs are addresses that the live Run still has and the next one will
	// not: their leases end with the Run.
	OldAddrs []Addr `json:"old_addrs,omitempty"`
	// SeqBase is the Seq after which this jail's Runs begin: 0, or the highest
	// that was ever lost with a host, which may come back with a Run of an
	// earlier jail of this name. See State.NextSeq.
	SeqBase uint64 `json:"seq_base,omitempty"`
}

// Addr is what a NIC of a jail has by its lease.
type Addr struct {
	Network string     `json:"network"`
	Addr    netip.Addr `json:"addr,omitzero"`
	Addr6   netip.Addr `json:"addr6,omitzero"`
	MAC     string     `json:"mac"` // derived from uuid and NIC
}

// Group lists the jails of one block.
type Group struct {
	Name  string     `json:"name"`
	Wish  string     `json:"wish"`
	Jails []JailName `json:"jails"` // by Index
}

// Phase of a Run. It only grows.
type Phase int

// The phases, in order. From Stopped on the Run is over.
const (
	Placed Phase = iota + 1
	Preparing
	Ready
	Starting
	Running
	Stopping
	Stopped // ended as asked, or by itself with code 0
	Failed
	Lost // its host is gone, or was: nobody saw it end
)

// Over reports whether nothing of the Run is left.
func (p Phase) Over() bool { return p >= Stopped }

// Health of a Run.
type Health string

// The healths. A jail without checks is healthy once it runs.
const (
	HealthUnknown   Health = "unknown"
	HealthHealthy   Health = "healthy"
	HealthUnhealthy Health = "unhealthy"
)

// Run is one incarnation of a jail on one host. (Jail, Seq) names it for ever.
type Run struct {
	Jail      JailName  `json:"jail"`
	Host      HostID    `json:"host"`
	Seq       uint64    `json:"seq"` // from 1, one more each time: the fencing number
	Phase     Phase     `json:"phase"`
	Health    Health    `json:"health"`
	Hash      string    `json:"hash"`                // Jail.Hash when it was placed
	Restart   uint64    `json:"restart"`             // Jail.Restart when it was placed
	Attempt   int       `json:"attempt"`             // failures in a row before it, set by the scheduler
	Total     uint64    `json:"total"`               // Runs before it that ended by themselves
	Image     string    `json:"image"`               // Key it was placed with
	Res       Resources `json:"res"`                 // reserved on Host
	Why       string    `json:"why"`                 // why this host
	StopWhy   string    `json:"stop_why,omitempty"`  // not empty: the agent must end it
	PushedBy  JailName  `json:"pushed_by,omitempty"` // jail that it makes room for
	Reason    string    `json:"reason,omitempty"`    // last word of the agent
	Exit      *Exit     `json:"exit,omitempty"`
	From      HostID    `json:"from,omitempty"` // draining host that the jail has left for it
	PlacedAt  Time      `json:"placed_at"`
	StartedAt Time      `json:"started_at,omitempty"` // first seen Running
	HealthyAt Time      `json:"healthy_at,omitempty"` // since when healthy without break
	EndedAt   Time      `json:"ended_at,omitempty"`
}

// Exit is how a jail's first process ended.
type Exit struct {
	Known  bool   `json:"known"` // false: nobody was there to see it
	Code   int    `json:"code"`
	Signal string `json:"signal,omitempty"`
	OOM    bool   `json:"oom,omitempty"`
}

// Lease gives an address to a replica slot.
type Lease struct {
	Network  string     `json:"network"`
	Addr     netip.Addr `json:"addr"`
	MAC      string     `json:"mac"`
	Jail     JailName   `json:"jail,omitempty"` // "" while it rests
	Hostname string     `json:"hostname"`
	Last     JailName   `json:"last,omitempty"`     // who had it before it rested: gets it back
	FreedAt  Time       `json:"freed_at,omitempty"` // resting since; free for others after RestTime
	Expires  Time       `json:"expires,omitempty"`  // 0: as long as the jail
}

// LeaseKey orders leases by network, then address.
func LeaseKey(network string, a netip.Addr) string {
	b := a.As16()
	return network + "/" + string(b[:])
}

// Record is one DNS record that is served now.
type Record struct {
	Name    string     `json:"name"`             // lower case, no trailing dot
	Type    string     `json:"type"`             // A, AAAA, PTR, SRV
	TTL     uint32     `json:"ttl"`              // seconds
	Addr    netip.Addr `json:"addr,omitzero"`    // A, AAAA
	Target  string     `json:"target,omitempty"` // PTR, SRV
	Port    uint16     `json:"port,omitempty"`   // SRV
	Network string     `json:"network"`
	Jail    JailName   `json:"jail"`              // owner; "": a guest
	Service string     `json:"service,omitempty"` // set for records of healthy members
}

// RecordKey orders records by name and type.
func RecordKey(r *Record) string {
	return r.Name + "/" + r.Type + "/" + string(r.Jail) + "/" + r.Service + "/" + r.Target + r.Addr.String()
}

// Cert is a jail's certificate: first named, then requested, then issued.
type Cert struct {
	Jail     JailName     `json:"jail"`
	Names    []string     `json:"names"`
	Addrs    []netip.Addr `json:"addrs"`
	URI      string       `json:"uri"`           // SPIFFE id
	CSR      []byte       `json:"csr,omitempty"` // DER, until it is signed
	CSRBy    HostID       `json:"csr_by,omitempty"`
	CSRSeq   uint64       `json:"csr_seq,omitempty"` // Run that asked
	PEM      string       `json:"pem,omitempty"`     // chain, newest issue
	Serial   string       `json:"serial,omitempty"`
	NotAfter Time         `json:"not_after,omitempty"`
	Stale    bool         `json:"stale,omitempty"` // names moved since PEM was issued: ask again
	CA       string       `json:"ca,omitempty"`    // id of the CA that signed; "": the one that founded the cluster
}

// HostState is what the cluster thinks of a host.
type HostState string

// The states of a host.
const (
	HostAlive    HostState = "alive"
	HostDraining HostState = "draining"
	HostLost     HostState = "lost"
	HostJoining  HostState = "joining" // admitted by a token, has not run yet
)

// Host is a member and what it can do.
type Host struct {
	ID       HostID            `json:"id"`
	Name     string            `json:"name"`
	Role     string            `json:"role"` // server, host
	State    HostState         `json:"state"`
	OS       string            `json:"os"`             // linux, freebsd
	Arch     string            `json:"arch"`           // amd64, arm64
	Runtime  string            `json:"runtime"`        // jail, linux, sim
	Addr     string            `json:"addr,omitempty"` // API address
	Version  string            `json:"version"`
	Labels   map[string]string `json:"labels,omitempty"` // key alone: value ""
	Capacity Resources         `json:"capacity"`
	Features map[string]string `json:"features,omitempty"` // "userns": "yes", "quota": "no: ..."
	SeenAt   Time              `json:"seen_at"`            // registered or marked

	Peer   string            `json:"peer,omitempty"`   // HOST:PORT of its cluster port
	Gossip string            `json:"gossip,omitempty"` // HOST:PORT of its gossip port
	Level  int               `json:"level,omitempty"`  // of its program, see Level; 0 is 1
	Key    string            `json:"key,omitempty"`    // SHA-256 of the key it was admitted with, hex; "": it founded the cluster
	Set    map[string]string `json:"set,omitempty"`    // labels that LabelHost set
	// FencedAt is about when the host will have stopped what it ran when it was
	// lost. While it is not 0, those jails may not start elsewhere: the leader
	// makes it 0 when it has waited. Clocks of hosts differ, so nobody compares.
	FencedAt Time `json:"fenced_at,omitempty"`

	Overlay *Overlay `json:"overlay,omitempty"` // nil: networks do not reach it from other hosts
	Drain   *Drain   `json:"drain,omitempty"`   // while it is draining: how fast
	Alarms  []Alarm  `json:"alarms,omitempty"`  // sorted by Name
}

// Drain is how fast the jails of a host leave it.
type Drain struct {
	Until    Time `json:"until,omitempty"`    // those still there then are stopped; 0: nobody is in a hurry
	Parallel int  `json:"parallel,omitempty"` // so many are on their way at once; 0: as their groups allow
}

// Token admits hosts.
type Token struct {
	ID        string   `json:"id"`
	Hash      []byte   `json:"hash"` // SHA-256 of the secret
	Role      string   `json:"role"`
	Max       int      `json:"max,omitempty"` // uses; 0: any number
	Uses      []HostID `json:"uses,omitempty"`
	Expires   Time     `json:"expires"`
	RevokedAt Time     `json:"revoked_at,omitempty"`
	CreatedAt Time     `json:"created_at"`
	CreatedBy string   `json:"created_by"`
}

// Denied is a host that was removed and may not come back.
type Denied struct {
	Host     HostID `json:"host"`
	Name     string `json:"name"`
	At       Time   `json:"at"`
	FencedAt Time   `json:"fenced_at,omitempty"` // as Host.FencedAt
	Why      string `json:"why,omitempty"`
}

// idResult is what became of the entry with an id.
type idResult struct {
	Index   uint64   `json:"index"`
	Refusal *Refusal `json:"refusal,omitempty"`
}
