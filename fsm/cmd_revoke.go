package fsm

import (
	"strings"
	"time"
)

// Bounds of revocations.
const (
	maxRevoked  = 10_000
	revokedLife = 366 * 24 * time.Hour // where nobody said when the certificate ends
	maxRevoke   = 11 * 366 * 24 * time.Hour
)

// decide walks over all revocations, of which there are maxRevoked at most.
func (c RevokeCert) decide(t *txn) *Refusal {
	now := &Revoked{Serial: strings.ToLower(c.Serial), Subject: c.Subject, At: t.s.Now, Until: c.Until, Why: c.Why, By: t.by}
	object := "certificate " + c.Serial + c.Subject
	var cert *Cert
	if c.Jail != "" {
		object = "cert " + string(c.Jail)
		var ok bool
		if cert, ok = t.certs.get(string(c.Jail)); !ok {
			return noJail(c.Jail)
		}
		if cert.Serial == "" {
			return nil // it has none, or the last one is revoked already
		}
		now.Serial, now.Subject, now.Until, now.Jail = cert.Serial, "", cert.NotAfter, c.Jail
	}
	if now.Until == 0 {
		now.Until = t.s.Now.Add(revokedLife)
	}
	switch {
	case isHost(t.by):
		return refuse(CodeFenced, object, "%s cannot revoke it: only users may", t.by)
	case (now.Serial == "") == (now.Subject == ""):
		return refuse(CodeInvalid, "certificate", "want one of a serial, an identity and a jail")
	case len(now.Serial) > 64 || strings.Trim(now.Serial, "0123456789abcdef") != "":
		return refuse(CodeInvalid, "certificate", "the serial %.80q is not hex", now.Serial)
	case now.Subject != "" && (len(now.Subject) > 512 || !strings.HasPrefix(now.Subject, "spiffe://")):
		return refuse(CodeInvalid, "certificate", "the identity %.80q is no SPIFFE URI", now.Subject)
	case len(c.Why) > maxReason:
		return refuse(CodeInvalid, object, "the reason has %d bytes, %d are the most", len(c.Why), maxReason)
	case now.Until <= t.s.Now:
		return refuse(CodeInvalid, object, "it has ended by itself, at %s", now.Until.Time().Format(time.RFC3339))
	case now.Until > t.s.Now.Add(maxRevoke):
		return refuse(CodeInvalid, object, "it cannot be refused beyond %s", t.s.Now.Add(maxRevoke).Time().Format(time.RFC3339))
	}
	if old, ok := t.revoked.get(now.key()); ok && now.Serial != "" && old.Until >= now.Until && cert == nil {
		return nil
	}
	t.dropRevoked()
	if t.revoked.n >= maxRevoked {
		return refuse(CodeExhausted, object, "%d certificates are revoked already: rotate the CA instead", maxRevoked)
	}
	t.emit(CertRevoked{now})
	if cert != nil { // its agent makes a new key and asks again
		bare := *cert
		bare.PEM, bare.Serial, bare.NotAfter, bare.CA, bare.CSR, bare.CSRBy, bare.CSRSeq = "", "", 0, "", nil, "", 0
		t.emit(CertNamed{&bare})
	}
	return nil
}

// dropRevoked forgets what has ended by itself.
func (t *txn) dropRevoked() {
	var ended []string
	t.revoked.each("", func(key string, r *Revoked) bool {
		if t.s.Now > r.Until {
			ended = append(ended, key)
		}
		return true
	})
	for _, key := range ended {
		t.emit(RevocationForgotten{key})
	}
}

func (c ReportAbuse) decide(t *txn) *Refusal {
	h, ok := t.hosts.get(string(c.Host))
	switch {
	case !ok:
		return noHost(c.Host)
	case isHost(t.by):
		return refuse(CodeFenced, "host "+h.Name, "%s cannot accuse it", t.by)
	case len(c.What) > 256 || len(c.Why) > maxReason:
		return refuse(CodeInvalid, "host "+h.Name, "the report is too long")
	}
	t.emit(AbuseReported{c.Host, h.Name, c.What, c.Why})
	return nil
}
