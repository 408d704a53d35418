package fsm

import (
	"net/netip"

	"github.com/rexcarcer/rexcarcer/spec"
)

// Version is the entry version that this program writes. Kinds are added to
// it, their meaning never changes.
const Version = 1

// Entry is one entry of the log.
type Entry struct {
	V   uint16 // entry version
	ID  string // makes a retry harmless; "" is never remembered
	At  Time   // stamped once, by the leader
	By  string // authenticated identity: "user/root", "host/ID", "scheduler"
	Cmd Command
}

// Command asks for a change, in the imperative. The set is sealed.
type Command interface {
	Kind() string           // its name in the log, for ever
	decide(t *txn) *Refusal // checks, then emits Events
}

// Genesis founds the cluster. It is the first entry and the only one of its kind.
type Genesis struct {
	ClusterID string `json:"cluster_id"`
	Domain    string `json:"domain"`
	CA        string `json:"ca"` // PEM
}

// ApplyWish makes Wish the only truth about what Wish.Name declares.
type ApplyWish struct {
	Wish spec.Wish `json:"wish"`
	Base uint64    `json:"base,omitempty"` // refused with conflict if State.PlanIndex is above it; 0: no check
}

// DestroyWish removes all that the wish declared.
type DestroyWish struct {
	Name string `json:"name"`
	Base uint64 `json:"base,omitempty"`
}

// WantJail starts or stops a jail until further notice.
type WantJail struct {
	Jail JailName `json:"jail"`
	Want Want     `json:"want"` // running, stopped or gone
}

// RestartJail replaces the jail's Run by a new one.
type RestartJail struct {
	Jail JailName `json:"jail"`
}

// PlaceJail creates the jail's next Run. Refused unless Seq is one above the
// last, that one is over, the host is alive and has room.
type PlaceJail struct {
	Jail    JailName `json:"jail"`
	Host    HostID   `json:"host"`
	Seq     uint64   `json:"seq"`
	Attempt int      `json:"attempt,omitempty"`
	Why     string   `json:"why"`
	From    HostID   `json:"from,omitempty"` // draining host that it has left
}

// StopRun asks the agent to end a Run.
type StopRun struct {
	Jail JailName `json:"jail"`
	Seq  uint64   `json:"seq"`
	Why  string   `json:"why"`
	For  JailName `json:"for,omitempty"` // whose room it has to make; "": it ends for its own sake
}

// ReportRun is what an agent saw. Refused as fenced for an old Seq or from a
// host that does not own the Run; a Phase lower than the known one is refused.
type ReportRun struct {
	Jail   JailName `json:"jail"`
	Host   HostID   `json:"host"`
	Seq    uint64   `json:"seq"`
	Phase  Phase    `json:"phase"`
	Health Health   `json:"health,omitempty"`
	Exit   *Exit    `json:"exit,omitempty"`
	Reason string   `json:"reason,omitempty"`
}

// RegisterHost makes a host known or refreshes what it can do.
type RegisterHost struct {
	Host Host `json:"host"`
}

// MarkHost records what gossip and operators say of a host. Lost ends its Runs.
type MarkHost struct {
	Host  HostID    `json:"host"`
	State HostState `json:"state"`
	Why   string    `json:"why,omitempty"`
	// Fence is when the host will have stopped its jails, if State is lost and
	// nobody's clock is wrong; 0: it stopped them when it was marked. It is told
	// to people: what ends the wait is Over.
	Fence Time `json:"fence,omitempty"`
	// Over says that the leader has waited, by a clock that does not jump, until
	// the host had surely stopped what it ran when it was marked lost. State must
	// be the one that the host has.
	Over bool `json:"over,omitempty"`
	// Drain is how fast a host is drained; nil: each group at its own pace.
	Drain *Drain `json:"drain,omitempty"`
}

// RequestCert hands in a CSR for a jail that is placed on the asking host.
type RequestCert struct {
	Jail JailName `json:"jail"`
	Host HostID   `json:"host"`
	Seq  uint64   `json:"seq"`
	CSR  []byte   `json:"csr"` // DER, at most 4 KiB
}

// SetCert publishes a signed certificate. Names are checked against the jail's.
type SetCert struct {
	Jail     JailName `json:"jail"`
	CSRSeq   uint64   `json:"csr_seq"` // Run whose CSR was signed
	PEM      string   `json:"pem"`
	Serial   string   `json:"serial"`
	NotAfter Time     `json:"not_after"`
	// Of is what was signed when the CSR came to the leader directly: such a
	// certificate needs no CSR in the log, so it costs one entry instead of two.
	Of *CertOf `json:"of,omitempty"`
	CA string  `json:"ca,omitempty"` // id of the CA that signed, see Cert.CA
}

// CertOf is what a certificate was signed for. It is refused when the jail's
// Run or names are others by the time the entry is applied.
type CertOf struct {
	Host  HostID       `json:"host"` // that made the key
	Names []string     `json:"names"`
	Addrs []netip.Addr `json:"addrs"`
	URI   string       `json:"uri"`
}

// TagImage gives a name to a build, as `image build -t` does.
type TagImage struct {
	Image spec.Image `json:"image"`
}

// UntagImage removes a name that no jail uses.
type UntagImage struct {
	Name string `json:"name"`
}

// ReportBuild says that a host holds a Key (or, with Gone, no longer).
type ReportBuild struct {
	Key   string `json:"key"`
	Host  HostID `json:"host"`
	Bytes int64  `json:"bytes,omitempty"`
	Gone  bool   `json:"gone,omitempty"`
	Base  *Base  `json:"base,omitempty"` // what it stands on, where that was pinned
}

// Kind implements Command for each of them.
func (Genesis) Kind() string      { return "genesis" }
func (ApplyWish) Kind() string    { return "apply_wish" }
func (DestroyWish) Kind() string  { return "destroy_wish" }
func (WantJail) Kind() string     { return "want_jail" }
func (RestartJail) Kind() string  { return "restart_jail" }
func (PlaceJail) Kind() string    { return "place_jail" }
func (StopRun) Kind() string      { return "stop_run" }
func (ReportRun) Kind() string    { return "report_run" }
func (RegisterHost) Kind() string { return "register_host" }
func (MarkHost) Kind() string     { return "mark_host" }
func (RequestCert) Kind() string  { return "request_cert" }
func (SetCert) Kind() string      { return "set_cert" }
func (TagImage) Kind() string     { return "tag_image" }
func (UntagImage) Kind() string   { return "untag_image" }
func (ReportBuild) Kind() string  { return "report_build" }

// Applied is what became of a proposed Command.
type Applied struct {
	Index  uint64     // its place in the log
	Events []Happened // what it changed; none if it was already so
}
