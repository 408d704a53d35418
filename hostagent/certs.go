package hostagent

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/pki"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

// certs keeps one jail's certificate good: the key is made here and never
// leaves this host, the leader signs, the log holds the certificate.
type certs struct {
	a *Agent
	w *worker

	key     crypto.Signer
	keyPEM  []byte
	chain   string                 // PEM of the log that was taken
	behind  string                 // PEM that follows it in the jail
	ca      string                 // what the jail trusts
	revoked fsm.Tree[*fsm.Revoked] // that were looked at
	wrote   string                 // chain, behind and ca that a running jail was given
	renewAt time.Time
	asked   time.Time // last renewal request

	timer *time.Timer // wakes the worker when it is time to renew
	wg    sync.WaitGroup
}

// certWait bounds how long a start waits for the leader's signature.
const certWait = 15 * time.Second

func newCerts(a *Agent, w *worker) *certs {
	return &certs{a: a, w: w}
}

func (c *certs) stop() {
	if c.timer != nil {
		c.timer.Stop()
	}
	c.wg.Wait()
}

// ensure waits until State holds a certificate that fits the jail's names,
// our key and the present time, asking for one if it must.
func (c *certs) ensure(ctx context.Context, want Want) error {
	if c.a.features.Simulated {
		return nil
	}
	if err := errors.Join(c.rekey(), c.loadKey()); err != nil {
		return err
	}
	if c.take(want.Cert) {
		return nil
	}
	if err := c.request(ctx, want.Run.Seq); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, certWait)
	defer cancel()
	_, err := c.a.c.Cluster.Wait(ctx, func(s *fsm.State) bool {
		return c.take(WantOf(s, c.a.c.Host, c.w.row.Name, c.w.row.UUID).Cert)
	})
	if err != nil {
		return fmt.Errorf("certificate of jail %s was not signed within %s: is there a leader? %w", c.w.row.Name, certWait, err)
	}
	return nil
}

func (c *certs) loadKey() error {
	if c.key != nil {
		return nil
	}
	path := c.a.keyPath(c.w.row.UUID)
	key, keyPEM, err := pki.EnsureJailKey(path)
	if err != nil {
		return fmt.Errorf("key of jail %s: %w", c.w.row.Name, err)
	}
	c.key, c.keyPEM = key, keyPEM
	return nil
}

func (c *certs) request(ctx context.Context, seq uint64) error {
	csr, err := pki.NewCSR(c.key, string(c.w.row.Name))
	if err != nil {
		return err
	}
	if err := c.a.propose(ctx, fsm.RequestCert{Jail: c.w.row.Name, Host: c.a.c.Host, Seq: seq, CSR: csr}); err != nil {
		return fmt.Errorf("ask for the certificate of jail %s: %w", c.w.row.Name, err)
	}
	return nil
}

// take accepts what State has if it is ours, current and not due for renewal.
func (c *certs) take(cert *fsm.Cert) bool {
	if cert == nil || cert.PEM == "" || cert.Stale {
		return false
	}
	cluster := &c.a.c.Cluster.State().Cluster
	if !c.a.c.Clock().Before(dueAt(cluster, cert)) {
		return false
	}
	if cert.PEM == c.chain {
		c.ca, c.behind = cluster.CA, cluster.Behind(cluster.SignerOf(cert))
		return c.a.c.Clock().Before(c.renewAt)
	}
	list, err := pki.ParseChain([]byte(cert.PEM))
	if err != nil || len(list) == 0 {
		return false
	}
	public, ok := c.key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(list[0].PublicKey) {
		return false
	}
	renew := pki.RenewAt(list[0])
	if !c.a.c.Clock().Before(renew) {
		return false
	}
	c.chain, c.renewAt = cert.PEM, renew
	c.ca, c.behind = cluster.CA, cluster.Behind(cluster.SignerOf(cert))
	return true
}

// never is later than any certificate lives.
var never = time.Unix(1<<40, 0)

// dueAt is when a certificate is to be replaced because another CA signs: at a
// time within the first third of that for which its own is still trusted, by
// its serial, so that all jails do not ask at once.
func dueAt(cluster *fsm.Cluster, cert *fsm.Cert) time.Time {
	active := cluster.ActiveCA()
	if active == nil {
		return never
	}
	signer := cluster.SignerOf(cert)
	if signer == nil {
		return time.Time{}
	}
	if signer.ID == active.ID {
		return never
	}
	span := min(time.Duration(active.Retire)/3, 24*time.Hour)
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(cert.Serial)) // a hash takes all
	return active.ActiveAt.Time().Add(span / 1000 * time.Duration(sum.Sum32()%1000))
}

// files is what goes into /etc/ssl/rc.
func (c *certs) files(ids zfssync.IDMap) pki.JailFiles {
	chain := []byte(c.chain)
	if leaf, err := pki.LeafOnly(chain); err == nil { // it was parsed when it was taken
		chain = append(leaf, c.behind...)
	}
	return pki.JailFiles{KeyPEM: bytes.Clone(c.keyPEM), ChainPEM: chain, CAPEM: []byte(c.ca),
		UID: int(ids.HostBase), GID: int(ids.HostBase)}
}

// look is called on each quiet pass over a running jail: it asks for a new
// certificate when the old one is due or its names have moved, and puts a new
// one into the running jail. No restart: the files change by rename.
func (c *certs) look(ctx context.Context, want Want) {
	if c.a.features.Simulated || want.Cert == nil || want.Run == nil {
		return
	}
	if err := c.lookOnce(ctx, want); err != nil && ctx.Err() == nil {
		c.w.log.Warn("certificate", "err", err)
		c.a.metrics.failures.WithLabelValues("certificate").Inc()
	}
	at := c.renewAt
	if due := dueAt(&c.a.c.Cluster.State().Cluster, want.Cert); due.Before(at) {
		at = due
	}
	next := time.Until(at)
	if next <= 0 {
		next = 10 * time.Second
	}
	if c.timer != nil {
		c.timer.Stop()
	}
	c.timer = time.AfterFunc(next, func() { poke(c.w.wakeup) })
}

func (c *certs) lookOnce(ctx context.Context, want Want) error {
	if err := errors.Join(c.rekey(), c.loadKey()); err != nil {
		return err
	}
	if !c.take(want.Cert) {
		now := c.a.c.Clock()
		if now.Sub(c.asked) < certWait || (len(want.Cert.CSR) > 0 && want.Cert.CSRSeq == want.Run.Seq) {
			return nil // asked already
		}
		c.asked = now
		return c.request(ctx, want.Run.Seq)
	}
	now := c.chain + c.behind + c.ca
	if now == c.wrote {
		return nil
	}
	ids, err := c.w.ids(ctx)
	if err != nil {
		return err
	}
	root, err := c.w.root(ctx, want, ids) // already mounted: returns its path
	if err != nil {
		return err
	}
	err = c.a.withRoot(root, ids, func(r *os.Root) error {
		return pki.WriteJailFiles(r, c.files(ids))
	})
	if err == nil {
		c.wrote = now
	}
	return err
}

// rekey throws the key away whose certificate was revoked: who has taken it
// must not get the next certificate for it. A daemon that begins anew knows an
// old key by its time.
func (c *certs) rekey() error {
	s := c.a.c.Cluster.State()
	if s.Revoked.Same(c.revoked) {
		return nil
	}
	path := c.a.keyPath(c.w.row.UUID)
	for _, r := range s.Revoked.All {
		if r.Jail != c.w.row.Name {
			continue
		}
		info, err := os.Stat(path)
		if err != nil || !info.ModTime().Before(r.At.Time()) {
			continue
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("make another key for jail %s: %w", c.w.row.Name, err)
		}
		c.key, c.keyPEM, c.chain, c.asked = nil, nil, "", time.Time{}
	}
	c.revoked = s.Revoked
	return nil
}
