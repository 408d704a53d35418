package api

import (
	"context"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// Trust is what only a host with the CA's key can do. Requests that a host
// without it gets are refused with a hint where to ask.
type Trust interface {
	// CAs tells which CAs there are, and what this host has of them.
	CAs(s *fsm.State) (CAView, error)
	// RotateCA makes another CA and has it trusted.
	RotateCA(ctx context.Context, by string, in CARotation) (fsm.Applied, error)
	// RequestCA is a CSR in PEM for the CA id, "" for the one that is to come
	// or else that signs.
	RequestCA(id string) ([]byte, error)
	// ImportCA puts a CA under the operator's own by what was made of its CSR.
	ImportCA(ctx context.Context, by string, chainPEM []byte) (fsm.Applied, error)
	// SealCA encrypts this host's keys of CAs under a passphrase, or with an
	// empty one writes them in the clear.
	SealCA(passphrase string) error
	// UnlockCA opens sealed keys.
	UnlockCA(passphrase string) error
	// Locked tells whether keys are sealed and not open.
	Locked() bool
	// Subject is the SPIFFE URI of a user.
	Subject(role, name string) string
	// GossipKey draws a key for gossip.
	GossipKey() ([]byte, error)
}

// CAView is what there is of CAs.
type CAView struct {
	Host   string  `json:"host"`   // that answered
	Sealed bool    `json:"sealed"` // its keys are encrypted on disk
	Locked bool    `json:"locked"` // and it has not been told the passphrase
	CAs    []CARow `json:"cas"`    // the one that signs first
}

// CARow is one CA.
type CARow struct {
	ID       string     `json:"id"`
	State    string     `json:"state"` // new, active, old
	Subject  string     `json:"subject"`
	NotAfter time.Time  `json:"not_after"`
	Under    string     `json:"under,omitempty"` // the operator's CA that it is under
	HeldBy   []string   `json:"held_by"`         // servers that have its key
	Waits    []string   `json:"waits,omitempty"` // servers that have not, or what else it waits for
	ActiveAt *time.Time `json:"active_at,omitempty"`
	RetireAt *time.Time `json:"retire_at,omitempty"`
	PEM      string     `json:"pem"`
	Chain    string     `json:"chain,omitempty"`
}

// CARotation asks for another CA.
type CARotation struct {
	RetireAfter string `json:"retire_after,omitempty"` // how long the old one stays trusted, as 720h; default that
	Hold        bool   `json:"hold,omitempty"`         // it signs only once it is under the operator's CA
}

// CARequest asks for a CSR.
type CARequest struct {
	ID  string `json:"id,omitempty"`
	CSR string `json:"csr,omitempty"` // in the answer
}

// CASigned brings what was made of it.
type CASigned struct {
	Chain string `json:"chain"` // PEM: the CA's certificate first
}

// CAPassphrase is what keys are sealed with.
type CAPassphrase struct {
	Passphrase string `json:"passphrase"`
}

// Revocation asks for a certificate to be refused: one of its fields but Why.
type Revocation struct {
	Serial string `json:"serial,omitempty"` // hex
	Jail   string `json:"jail,omitempty"`
	Host   string `json:"host,omitempty"` // all that it has: name or id
	User   string `json:"user,omitempty"` // all that this user has
	Why    string `json:"why,omitempty"`
}

// RevokedRow is one revocation.
type RevokedRow struct {
	Serial  string    `json:"serial,omitempty"`
	Subject string    `json:"subject,omitempty"`
	At      time.Time `json:"at"`
	Until   time.Time `json:"until"`
	Why     string    `json:"why,omitempty"`
	By      string    `json:"by"`
}

// Restored is the answer to a restore.
type Restored struct {
	Index   uint64       `json:"index"`   // of the log entry
	Content string       `json:"content"` // hash of what is declared now, as SnapshotInfo.Content
	From    SnapshotInfo `json:"from"`
}
