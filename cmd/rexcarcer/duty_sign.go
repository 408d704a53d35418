package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/rexcarcer/rexcarcer/cluster"
	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/pki"
)

// jailCertLife is how long a jail's certificate is good unless options say
// otherwise; it is renewed at two thirds of it.
const jailCertLife = 7 * 24 * time.Hour

// sign issues the certificates that hosts have asked for. The names are
// State's, whatever the request says.
func sign(l log, ring *pki.Ring, life time.Duration, clock func() time.Time, logger *slog.Logger) func(context.Context) error {
	return func(ctx context.Context) error {
		var seen fsm.Tree[*fsm.Cert]
		told := false
		for {
			changed := l.Watch()
			var again <-chan time.Time
			ca, err := ring.Signer()
			switch s := l.State(); {
			case err != nil: // until the passphrase is told, or the key is fetched
				if !told {
					logger.Warn("this host leads and cannot sign: certificates wait", "err", err)
				}
				told, again = true, time.After(time.Second)
			case !s.Certs.Same(seen):
				seen, told = s.Certs, false
				proposeAll(ctx, l, "ca", signPending(s, ca, life, clock(), logger), logger)
			}
			select {
			case <-changed:
			case <-again:
			case <-ctx.Done():
				return nil
			}
		}
	}
}

func signPending(s *fsm.State, ca *pki.CA, life time.Duration, now time.Time, logger *slog.Logger) []fsm.Command {
	var out []fsm.Command
	for _, c := range s.Certs.All {
		if len(c.CSR) == 0 {
			continue
		}
		cmd, err := signOne(s, c, ca, life, now)
		if err != nil {
			logger.Warn("cannot sign", "jail", string(c.Jail), "err", err)
			continue
		}
		out = append(out, cmd)
	}
	return out
}

func signOne(s *fsm.State, c *fsm.Cert, ca *pki.CA, life time.Duration, now time.Time) (cmd fsm.SetCert, err error) {
	id, err := pki.ParseID(c.URI)
	if err != nil {
		return cmd, err
	}
	chain, err := pki.Issue(ca, c.CSR, pki.Profile{ID: id, DNSNames: c.Names, IPs: c.Addrs, Lifetime: life, Server: true, Client: true}, now)
	if err != nil {
		return cmd, err
	}
	list, err := pki.ParseChain(chain)
	if err != nil {
		return cmd, fmt.Errorf("read what was signed: %w", err)
	}
	cmd = fsm.SetCert{Jail: c.Jail, CSRSeq: c.CSRSeq, PEM: string(chain), Serial: list[0].SerialNumber.Text(16), NotAfter: fsm.TimeOf(list[0].NotAfter)}
	if len(s.Cluster.CAs) > 0 { // programs from before there were several do not know the field
		cmd.CA = ca.ID()
	}
	return cmd, nil
}

// directSigner is the log as the agent of a leading host sees it: what it asks
// the CA for is signed on the spot, and only the certificate is logged. That is
// one commit instead of two on the way to a running jail. Where that is refused,
// or another host leads, the request takes the way of all others.
type directSigner struct {
	*cluster.Node
	ring *pki.Ring
	life time.Duration
}

func (l directSigner) Propose(ctx context.Context, by string, cmd fsm.Command) (fsm.Applied, error) {
	ask, ok := cmd.(fsm.RequestCert)
	if leads, _ := l.Leader(); !ok || !leads {
		return l.Node.Propose(ctx, by, cmd)
	}
	s := l.State()
	ca, err := l.ring.Signer()
	if cert, ok := s.Certs.Get(string(ask.Jail)); ok && err == nil {
		pending := *cert
		pending.CSR, pending.CSRSeq = ask.CSR, ask.Seq
		if set, err := signOne(s, &pending, ca, l.life, time.Now()); err == nil {
			set.Of = &fsm.CertOf{Host: ask.Host, Names: cert.Names, Addrs: cert.Addrs, URI: cert.URI}
			if applied, err := l.Node.Propose(ctx, "ca", set); err == nil {
				return applied, nil
			}
		}
	}
	return l.Node.Propose(ctx, by, cmd)
}
