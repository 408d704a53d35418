package fsm

import "github.com/rexcarcer/rexcarcer/spec"

// Event is a change that happened, in the past tense. Events are the only way
// to change a State, and what history, audit and people read.
type Event interface {
	Kind() string   // "jail_placed"
	Object() string // "jail web-1": noun, blank, name
	Why() string    // reason, may be empty
	evolve(t *txn)
}

// Happened is an Event with where and when it happened.
type Happened struct {
	Index uint64
	Time  Time
	By    string
	Event Event
}

// The events. Each carries the whole new value of what it changed; that value
// is in the State, so nobody may change it.
type (
	// ClusterFounded: Genesis was folded.
	ClusterFounded struct {
		Cluster Cluster `json:"cluster"`
	}
	// DomainChanged: the first wish of a cluster named another domain.
	DomainChanged struct {
		Domain string `json:"domain"`
	}
	// WishApplied: the wish is stored as it was written. Comes last, after
	// what it led to.
	WishApplied struct {
		Wish *spec.Wish `json:"wish"`
	}
	// WishDestroyed: all it declared is gone, or goes with its last Run.
	WishDestroyed struct {
		Name string `json:"name"`
	}
	// NetworkCreated: jails can get addresses in it.
	NetworkCreated struct {
		Network *Network `json:"network"`
	}
	// NetworkChanged: with Gone set, it goes with the last jail in it.
	NetworkChanged struct {
		Network *Network `json:"network"`
	}
	// NetworkRemoved: no jail is in it any more.
	NetworkRemoved struct {
		Name string `json:"name"`
	}
	// ImageTagged: the name means this now.
	ImageTagged struct {
		Image *Image `json:"image"`
	}
	// ImageUntagged: the name means nothing now. Builds stay.
	ImageUntagged struct {
		Name string `json:"name"`
	}
	// BuildReported: who holds the Key. No hosts: nobody does any more.
	BuildReported struct {
		Build *Build `json:"build"`
	}

	// JailCreated: its leases came before it, its records and certificate
	// come after it, in the same entry.
	JailCreated struct {
		Jail *Jail `json:"jail"`
	}
	// JailChanged: its spec, image or addresses are others.
	JailChanged struct {
		Jail   *Jail  `json:"jail"`
		Reason string `json:"reason"` // "image, env; needs a restart"
	}
	// JailWanted: Want or Restart is another.
	JailWanted struct {
		Jail   *Jail  `json:"jail"`
		Reason string `json:"reason"`
	}
	// JailRemoved: nothing of it is left but resting addresses and volumes.
	JailRemoved struct {
		Name JailName `json:"name"`
	}
	// LeaseGranted: the address belongs to a jail.
	LeaseGranted struct {
		Lease *Lease `json:"lease"`
	}
	// LeaseReleased: the address rests since FreedAt.
	LeaseReleased struct {
		Lease *Lease `json:"lease"`
	}
	// RecordAdded: DNS answers with it. It replaces one of the same RecordKey.
	RecordAdded struct {
		Record *Record `json:"record"`
	}
	// RecordRemoved: DNS answers with it no longer.
	RecordRemoved struct {
		Record *Record `json:"record"`
	}
	// CertNamed: these names and addresses must be in the certificate.
	CertNamed struct {
		Cert *Cert `json:"cert"`
	}
	// CertRequested: a CSR waits for the leader.
	CertRequested struct {
		Cert *Cert `json:"cert"`
	}
	// CertIssued: the chain is there for the agent to take.
	CertIssued struct {
		Cert *Cert `json:"cert"`
	}
	// CertRemoved: its jail is gone.
	CertRemoved struct {
		Jail JailName `json:"jail"`
	}

	// JailPlaced: a new Run, for the agent of its host.
	JailPlaced struct {
		Run *Run `json:"run"`
	}
	// RunStopping: StopWhy is set, the agent ends the Run.
	RunStopping struct {
		Run *Run `json:"run"`
	}
	// RunReported: an agent saw something new, or the host was lost.
	RunReported struct {
		Run  *Run  `json:"run"`
		From Phase `json:"from"`
	}
	// HostRegistered: a host is new, or can do other things than before.
	HostRegistered struct {
		Host *Host `json:"host"`
	}
	// HostMarked: its State is another.
	HostMarked struct {
		Host   *Host  `json:"host"`
		Reason string `json:"reason"`
	}
)
