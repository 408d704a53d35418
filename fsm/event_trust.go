package fsm

import "fmt"

// The events about what is trusted.
type (
	// CAChanged: a CA came, or is another than it was.
	CAChanged struct {
		CA     CA     `json:"ca"`
		Reason string `json:"reason"`
		list   []CA   // all of them, as they are now
	}
	// CARetired: it is not trusted any more.
	CARetired struct {
		ID   string `json:"id"`
		list []CA
	}
	// CertRevoked: every daemon refuses it from now on.
	CertRevoked struct {
		Revoked *Revoked `json:"revoked"`
	}
	// RevocationForgotten: what it was about has ended by itself.
	RevocationForgotten struct {
		Key string `json:"key"`
	}
	// AbuseReported: a member asked for what is another's.
	AbuseReported struct {
		Host   HostID `json:"host"`
		Name   string `json:"name"`
		What   string `json:"what"`
		Reason string `json:"reason,omitempty"`
	}
)

// Kind implements Event for each of them: its name for ever.
func (CAChanged) Kind() string           { return "ca_changed" }
func (CARetired) Kind() string           { return "ca_retired" }
func (CertRevoked) Kind() string         { return "cert_revoked" }
func (RevocationForgotten) Kind() string { return "revocation_forgotten" }
func (AbuseReported) Kind() string       { return "abuse_reported" }

// Object implements Event: noun, blank, name.
func (e CAChanged) Object() string           { return "ca " + e.CA.ID }
func (e CARetired) Object() string           { return "ca " + e.ID }
func (e RevocationForgotten) Object() string { return "revocation " + e.Key }
func (e AbuseReported) Object() string       { return "host " + e.Name }

// Object names the certificate, or whose they are.
func (e CertRevoked) Object() string {
	if e.Revoked.Serial != "" {
		return "serial " + e.Revoked.Serial
	}
	return "subject " + e.Revoked.Subject
}

// Why implements Event: the reason for people.
func (e CAChanged) Why() string         { return e.Reason }
func (CARetired) Why() string           { return "it is not trusted any more" }
func (e CertRevoked) Why() string       { return e.Revoked.Why }
func (RevocationForgotten) Why() string { return "it has ended by itself" }
func (e AbuseReported) Why() string     { return fmt.Sprintf("asked to %s: %s", e.What, e.Reason) }

func (e CAChanged) evolve(t *txn)           { t.s.Cluster = t.s.Cluster.withCAs(e.list) }
func (e CARetired) evolve(t *txn)           { t.s.Cluster = t.s.Cluster.withCAs(e.list) }
func (e CertRevoked) evolve(t *txn)         { t.revoked.put(e.Revoked.key(), e.Revoked) }
func (e RevocationForgotten) evolve(t *txn) { t.revoked.del(e.Key) }
func (AbuseReported) evolve(*txn)           {}

func (r *Revoked) key() string {
	if r.Serial != "" {
		return revokedSerial + r.Serial
	}
	return revokedSubject + r.Subject
}
