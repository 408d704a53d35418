package fsm

import "strings"

// CAState is where a CA is in its life.
type CAState string

// The states of a CA, in order.
const (
	CANew    CAState = "new"    // trusted; its key is on its way to the servers
	CAActive CAState = "active" // it signs
	CAOld    CAState = "old"    // trusted until RetireAt, signs nothing
)

// CA is one of the CAs that the cluster trusts. Private keys are never in the
// log: each server has them on its own disk.
type CA struct {
	ID    string  `json:"id"`              // 16 hex digits: SHA-256 of its certificate
	PEM   string  `json:"pem"`             // its own certificate, self-signed
	Cross string  `json:"cross,omitempty"` // the same key and name under the CA before it: who trusts only that one follows
	Chain string  `json:"chain,omitempty"` // the same key and name under the operator's CA, with what is between
	State CAState `json:"state"`

	Keys     []HostID `json:"keys,omitempty"`      // servers that have said that they hold its key
	Hold     bool     `json:"hold,omitempty"`      // it does not sign before it has a Chain
	Retire   int64    `json:"retire,omitempty"`    // nanoseconds for which the one before it stays trusted
	AddedAt  Time     `json:"added_at,omitempty"`  // 0: it founded the cluster
	ActiveAt Time     `json:"active_at,omitempty"` // since when it signs
	RetireAt Time     `json:"retire_at,omitempty"` // of an old one
}

// Revoked is a certificate, or all of somebody's, that every daemon refuses.
type Revoked struct {
	Serial  string   `json:"serial,omitempty"`  // hex, lower case: that certificate
	Subject string   `json:"subject,omitempty"` // SPIFFE URI: all of that one which were issued before At
	Jail    JailName `json:"jail,omitempty"`    // whose key is to be another
	At      Time     `json:"at"`
	Until   Time     `json:"until"` // it has ended by then and can be forgotten
	Why     string   `json:"why,omitempty"`
	By      string   `json:"by"`
}

// ActiveCA is the one that signs; nil before the first rotation or import,
// when Cluster.CA is the only one.
func (c *Cluster) ActiveCA() *CA {
	for i := range c.CAs {
		if c.CAs[i].State == CAActive {
			return &c.CAs[i]
		}
	}
	return nil
}

// FindCA is the CA with an id, nil if it is none of the trusted ones.
func (c *Cluster) FindCA(id string) *CA {
	for i := range c.CAs {
		if c.CAs[i].ID == id {
			return &c.CAs[i]
		}
	}
	return nil
}

// SignerOf is the CA that signed a certificate, nil if it is not trusted any
// more, or is the only one that there ever was.
func (c *Cluster) SignerOf(cert *Cert) *CA {
	if cert.CA != "" {
		return c.FindCA(cert.CA)
	}
	for i := range c.CAs {
		if c.CAs[i].AddedAt == 0 {
			return &c.CAs[i]
		}
	}
	return nil
}

// Behind is the PEM that follows what ca signs: the operator's chain first, so
// that who trusts only that CA finds the way; then, while the CA before is
// still trusted, the way of those who know only that one.
func (c *Cluster) Behind(ca *CA) string {
	if ca == nil {
		return ""
	}
	text := ca.Chain
	for i := range c.CAs {
		if c.CAs[i].State == CAOld && ca.State == CAActive {
			text += ca.Cross
		}
	}
	return text
}

// withCAs is c with another list; what everybody trusts follows from it, the
// one that signs first.
func (c Cluster) withCAs(list []CA) Cluster {
	var first, rest strings.Builder
	for _, ca := range list {
		to := &rest
		if ca.State == CAActive {
			to = &first
		}
		to.WriteString(strings.TrimSpace(ca.PEM) + "\n")
	}
	c.CAs, c.CA = list, first.String()+rest.String()
	return c
}

// IsRevoked says why a certificate is refused, nil if it is not. serial is
// hex in lower case, issued when it was made.
func (s *State) IsRevoked(serial, subject string, issued Time) *Revoked {
	if s.Revoked.Len() == 0 {
		return nil
	}
	if r, ok := s.Revoked.Get(revokedSerial + serial); ok {
		return r
	}
	if r, ok := s.Revoked.Get(revokedSubject + subject); ok && issued < r.At {
		return r
	}
	return nil
}

// The keys of State.Revoked.
const (
	revokedSerial  = "serial/"
	revokedSubject = "subject/"
)

// The sections of a snapshot that hold them; see dump.go.
const (
	secRevoked byte = 40
	secParts   byte = 41
)
