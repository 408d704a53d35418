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

// The events. Each carries the whole new value of what it changed.
type (
	ClusterFounded struct {
		Cluster Cluster `json:"cluster"`
	}
	DomainChanged struct {
		Domain string `json:"domain"`
	} // by the first wish of a cluster
	WishApplied struct {
		Wish *spec.Wish `json:"wish"`
	}
	WishDestroyed struct {
		Name string `json:"name"`
	}
	NetworkCreated struct {
		Network *Network `json:"network"`
	}
	NetworkChanged struct {
		Network *Network `json:"network"`
	}
	NetworkRemoved struct {
		Name string `json:"name"`
	}
	ImageTagged struct {
		Image *Image `json:"image"`
	}
	ImageUntagged struct {
		Name string `json:"name"`
	}
	BuildReported struct {
		Build *Build `json:"build"`
	} // no hosts left: gone

	JailCreated struct {
		Jail *Jail `json:"jail"`
	}
	JailChanged struct {
		Jail   *Jail  `json:"jail"`
		Reason string `json:"reason"` // "image, env; needs a restart"
	}
	JailWanted struct {
		Jail   *Jail  `json:"jail"`
		Reason string `json:"reason"`
	}
	JailRemoved struct {
		Name JailName `json:"name"`
	}
	LeaseGranted struct {
		Lease *Lease `json:"lease"`
	}
	LeaseReleased struct {
		Lease *Lease `json:"lease"`
	} // rests: FreedAt is set
	RecordAdded struct {
		Record *Record `json:"record"`
	}
	RecordRemoved struct {
		Record *Record `json:"record"`
	}
	CertNamed struct {
		Cert *Cert `json:"cert"`
	}
	CertRequested struct {
		Cert *Cert `json:"cert"`
	}
	CertIssued struct {
		Cert *Cert `json:"cert"`
	}
	CertRemoved struct {
		Jail JailName `json:"jail"`
	}

	JailPlaced struct {
		Run *Run `json:"run"`
	}
	RunStopping struct {
		Run *Run `json:"run"`
	} // StopWhy was set
	RunReported struct {
		Run  *Run  `json:"run"`
		From Phase `json:"from"`
	}
	HostRegistered struct {
		Host *Host `json:"host"`
	}
	HostMarked struct {
		Host   *Host  `json:"host"`
		Reason string `json:"reason"`
	}
)
