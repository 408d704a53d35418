package fsm

import (
	"bytes"
	"slices"
)

// maxCSR is the longest CSR that is taken, in bytes of DER.
const maxCSR = 4 << 10

func (c RequestCert) decide(t *txn) *Refusal {
	object := "cert " + string(c.Jail)
	cert, ok := t.certs.get(string(c.Jail))
	if !ok {
		return noJail(c.Jail)
	}
	r, live := t.liveRun(c.Jail)
	switch {
	case !live || r.Seq != c.Seq || r.Host != c.Host || !speaksFor(t.by, c.Host):
		return refuse(CodeFenced, object, "run %d on host %s does not own it: only the live run may ask", c.Seq, c.Host)
	case len(c.CSR) == 0 || len(c.CSR) > maxCSR:
		return refuse(CodeInvalid, object, "the CSR has %d bytes, 1 to %d are taken", len(c.CSR), maxCSR)
	case cert.CSRSeq == c.Seq && cert.CSRBy == c.Host && bytes.Equal(cert.CSR, c.CSR):
		return nil
	}
	now := *cert
	now.CSR, now.CSRBy, now.CSRSeq = c.CSR, c.Host, c.Seq
	t.emit(CertRequested{&now})
	return nil
}

// decide trusts the leader with the contents: keys and signatures are pki's.
// That a CSR waits is what makes sure that the names have not moved since:
// CertNamed drops it.
func (c SetCert) decide(t *txn) *Refusal {
	object := "cert " + string(c.Jail)
	cert, ok := t.certs.get(string(c.Jail))
	switch {
	case !ok:
		return noJail(c.Jail)
	case c.PEM == "" || len(c.PEM) > maxPEM || len(c.Serial) > 128 || len(c.CA) > 16:
		return refuse(CodeInvalid, object, "the chain has %d bytes of PEM, 1 to %d are taken", len(c.PEM), maxPEM)
	case cert.PEM == c.PEM && cert.Serial == c.Serial && len(cert.CSR) == 0:
		return nil
	case c.Of != nil:
		if r := c.Of.decide(t, cert, c.CSRSeq); r != nil {
			return r
		}
	case len(cert.CSR) == 0 || cert.CSRSeq != c.CSRSeq:
		return refuse(CodeConflict, object, "no CSR of run %d waits: its names moved, or a newer run asked", c.CSRSeq)
	}
	now := *cert
	now.CSR, now.CSRBy, now.CSRSeq = nil, "", 0
	now.PEM, now.Serial, now.NotAfter, now.Stale, now.CA = c.PEM, c.Serial, c.NotAfter, false, c.CA
	t.emit(CertIssued{&now})
	return nil
}

// decide checks that what was signed is still what the jail is.
func (c CertOf) decide(t *txn, cert *Cert, seq uint64) *Refusal {
	object := "cert " + string(cert.Jail)
	r, live := t.liveRun(cert.Jail)
	switch {
	case !live || r.Seq != seq || r.Host != c.Host:
		return refuse(CodeFenced, object, "run %d on host %s does not own it: only the live run gets one", seq, c.Host)
	case cert.URI != c.URI || !slices.Equal(cert.Names, c.Names) || !slices.Equal(cert.Addrs, c.Addrs):
		return refuse(CodeConflict, object, "its names moved while it was signed: ask again")
	}
	return nil
}
