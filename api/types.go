package api

import (
	"encoding/json"
	"net/netip"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

// Plan is what applying a wish would do, as the daemon computed it.
type Plan struct {
	BaseIndex uint64          `json:"base_index"` // goes into If-Match of the apply
	Steps     []PlanStep      `json:"steps"`
	Raw       json.RawMessage `json:"-"` // the whole document as it came
}

// PlanStep is one change.
type PlanStep struct {
	Action string `json:"action"` // create, change, move, destroy
	Kind   string `json:"kind"`   // network, image, jail, ...
	Name   string `json:"name"`
	Host   string `json:"host"`
	Reason string `json:"reason"`
}

// Applied is the answer to a write.
type Applied struct {
	Index  uint64  `json:"index"`  // of the log entry
	Events []Event `json:"events"` // what it changed; empty: it was already so
}

// Event is one thing that happened.
type Event struct {
	Index  uint64          `json:"index"`
	N      int             `json:"n"` // which of the entry's events, from 1
	Time   time.Time       `json:"time"`
	Kind   string          `json:"kind"`
	Object string          `json:"object"`
	Why    string          `json:"why"`
	By     string          `json:"by"`
	Data   json.RawMessage `json:"data,omitempty"` // the event's own fields, when asked for
}

// Status is the cluster in one screen.
type Status struct {
	ClusterID string     `json:"cluster_id"`
	Domain    string     `json:"domain"`
	Host      fsm.HostID `json:"host"` // that answered
	HostName  string     `json:"host_name"`
	Runtime   string     `json:"runtime"`
	Simulated bool       `json:"simulated,omitempty"`
	Version   string     `json:"version"`
	Index     uint64     `json:"index"`
	PlanIndex uint64     `json:"plan_index"`
	Chain     string     `json:"chain"`
	Now       time.Time  `json:"now"` // the log's clock
	Hosts     HostCount  `json:"hosts"`
	Jails     JailCount  `json:"jails"`
	Networks  int        `json:"networks"`
	Images    int        `json:"images"`
	Leases    int        `json:"leases"`
	Records   int        `json:"records"`
	Wishes    []string   `json:"wishes"`
	CALocked  bool       `json:"ca_locked,omitempty"` // the host that answered cannot sign: see rexctl ca unlock
	Alarms    []AlarmRow `json:"alarms,omitempty"`
}

// AlarmRow is something that a person has to see to.
type AlarmRow struct {
	Host  string    `json:"host"` // its name
	Name  string    `json:"name"` // what it is about: clock, deploy FILE
	Text  string    `json:"text"`
	Since time.Time `json:"since"`
}

// HostCount counts hosts by state.
type HostCount struct {
	Total int `json:"total"`
	Alive int `json:"alive"`
}

// JailCount counts jails.
type JailCount struct {
	Total     int `json:"total"`
	Running   int `json:"running"`
	Healthy   int `json:"healthy"`
	Unhealthy int `json:"unhealthy"`
	Pending   int `json:"pending"` // wanted, and not running yet
	Failed    int `json:"failed"`
	Stopped   int `json:"stopped"`
}

// JailRow is one line of ps.
type JailRow struct {
	Name      string    `json:"name"`
	UUID      string    `json:"uuid"`
	Network   string    `json:"network"`
	Host      string    `json:"host"`
	Phase     string    `json:"phase"` // pending, placed, ... running, ... lost
	Health    string    `json:"health"`
	Addresses []string  `json:"addresses"`
	Restarts  uint64    `json:"restarts"` // runs that ended by themselves
	Image     string    `json:"image"`
	Want      string    `json:"want"`
	Group     string    `json:"group"`
	Wish      string    `json:"wish"`
	UpToDate  bool      `json:"up_to_date"` // its run is of the newest declaration
	Policy    string    `json:"policy"`     // restart policy
	Reason    string    `json:"reason,omitempty"`
	Simulated bool      `json:"simulated,omitempty"`
	Since     time.Time `json:"since,omitzero"` // start, or end, of the run
}

// JailShow is everything about one jail.
type JailShow struct {
	JailRow
	Names     []string   `json:"names"` // DNS, canonical first
	Addrs     []fsm.Addr `json:"addrs"`
	Hash      string     `json:"hash"`
	CreatedAt time.Time  `json:"created_at"`
	Spec      spec.Jail  `json:"spec"`
	Run       *RunShow   `json:"run,omitempty"`
	Cert      *CertRow   `json:"cert,omitempty"`

	Provenance *Provenance `json:"provenance,omitempty"` // of the image that it runs
}

// RunShow is one incarnation of a jail.
type RunShow struct {
	Seq       uint64        `json:"seq"`
	Host      fsm.HostID    `json:"host"`
	Phase     string        `json:"phase"`
	Health    string        `json:"health"`
	Attempt   int           `json:"attempt"`
	ImageKey  string        `json:"image_key"`
	Why       string        `json:"why"`
	StopWhy   string        `json:"stop_why,omitempty"`
	Reason    string        `json:"reason,omitempty"`
	Exit      *fsm.Exit     `json:"exit,omitempty"`
	PlacedAt  time.Time     `json:"placed_at"`
	StartedAt time.Time     `json:"started_at,omitzero"`
	HealthyAt time.Time     `json:"healthy_at,omitzero"`
	EndedAt   time.Time     `json:"ended_at,omitzero"`
	Reserved  fsm.Resources `json:"reserved"`
}

// NetworkRow is one network.
type NetworkRow struct {
	Name     string         `json:"name"`
	Subnet   netip.Prefix   `json:"subnet"`
	Subnet6  string         `json:"subnet6,omitempty"`
	Gateway  netip.Addr     `json:"gateway"`
	HostAddr netip.Addr     `json:"host_address"`
	NAT      bool           `json:"nat"`
	Leases   int            `json:"leases"`
	Free     int64          `json:"free"` // addresses that can still be leased
	Publish  []spec.Publish `json:"publish,omitempty"`
	Allow    []string       `json:"allow,omitempty"`
	Wish     string         `json:"wish"`
	ID       string         `json:"id"`
}

// Settled says that networks are as the log had them at Index.
type Settled struct {
	Index uint64 `json:"index"`
}

// LeaseRow is one address.
type LeaseRow struct {
	Network  string     `json:"network"`
	Address  netip.Addr `json:"address"`
	MAC      string     `json:"mac"`
	Jail     string     `json:"jail"`
	Hostname string     `json:"hostname"`
	Expires  *time.Time `json:"expires"`           // null: as long as the jail
	Resting  bool       `json:"resting,omitempty"` // nobody has it, its last owner gets it back
}

// HostRow is one member.
type HostRow struct {
	Name         string            `json:"name"`
	ID           fsm.HostID        `json:"id"`
	Role         string            `json:"role"`
	Leader       bool              `json:"leader"`
	Voter        bool              `json:"voter"`
	State        string            `json:"state"`
	OS           string            `json:"os"`
	Arch         string            `json:"arch"`
	AppliedIndex uint64            `json:"applied_index"`
	Runtime      string            `json:"runtime"`
	Addr         string            `json:"addr,omitempty"`
	Version      string            `json:"version"`
	Jails        int64             `json:"jails"`
	Capacity     fsm.Resources     `json:"capacity"`
	Used         fsm.Resources     `json:"used"`
	Labels       map[string]string `json:"labels,omitempty"`
	Features     map[string]string `json:"features,omitempty"`
	SeenAt       time.Time         `json:"seen_at,omitzero"`
	Overlay      *HostOverlay      `json:"overlay,omitempty"` // absent: networks do not reach it from other hosts
	Alarms       []AlarmRow        `json:"alarms,omitempty"`
}

// HostOverlay is a host's end of the encrypted network between hosts.
type HostOverlay struct {
	Address  string    `json:"address"`  // the host's own on the overlay
	Endpoint string    `json:"endpoint"` // HOST:PORT, UDP
	Device   string    `json:"device"`   // kernel, userspace; "" while there is no other host
	Key      string    `json:"key"`      // WireGuard's public key
	Next     string    `json:"next,omitempty"`
	KeyAt    time.Time `json:"key_at"` // since when
}

// RecordRow is one DNS record that is served.
type RecordRow struct {
	Name    string `json:"name"`
	Type    string `json:"type"`
	TTL     uint32 `json:"ttl"`
	Data    string `json:"data"`
	Network string `json:"network"`
	Jail    string `json:"jail"`
	Service string `json:"service,omitempty"`
}

// DNSAnswer is what the DNS server said.
type DNSAnswer struct {
	Name          string      `json:"name"`
	Type          string      `json:"type"`
	Rcode         string      `json:"rcode"` // NOERROR, NXDOMAIN, ...
	Authoritative bool        `json:"authoritative"`
	Answers       []DNSRecord `json:"answers"`
	Server        string      `json:"server,omitempty"`
}

// DNSRecord is one record of an answer.
type DNSRecord struct {
	Name string `json:"name"`
	Type string `json:"type"`
	TTL  uint32 `json:"ttl"`
	Data string `json:"data"`
}

// CertRow is one jail's certificate.
type CertRow struct {
	Jail     string    `json:"jail"`
	State    string    `json:"state"` // named, requested, issued, stale
	Serial   string    `json:"serial"`
	NotAfter time.Time `json:"not_after,omitzero"`
	Names    []string  `json:"names"`
	Addrs    []string  `json:"addresses"`
	URI      string    `json:"uri"`
	PEM      string    `json:"pem,omitempty"` // only in show
}

// ServiceRow is one service and its members.
type ServiceRow struct {
	Name    string          `json:"name"`
	Network string          `json:"network"`
	FQDN    string          `json:"fqdn"`
	Port    uint16          `json:"port"`
	Proto   string          `json:"proto"`
	Healthy int             `json:"healthy"`
	Members []ServiceMember `json:"members"`
}

// ServiceMember is a jail behind a service.
type ServiceMember struct {
	Jail    string `json:"jail"`
	Address string `json:"address"`
	Health  string `json:"health"`
	Check   string `json:"check,omitempty"`
}

// WishRow is one applied wish.
type WishRow struct {
	Name     string `json:"name"`
	Source   string `json:"source,omitempty"`
	Domain   string `json:"domain,omitempty"`
	Networks int    `json:"networks"`
	Images   int    `json:"images"`
	Jails    int    `json:"jails"`
}

// Why answers "why is it so".
type Why struct {
	Object  string   `json:"object"`
	Summary string   `json:"summary"`
	Reasons []string `json:"reasons"`
}

// Version is what answers.
type Version struct {
	Version string `json:"version"`
	API     string `json:"api"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

// ScrapeGroup is one group of Prometheus' HTTP service discovery.
type ScrapeGroup struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}
