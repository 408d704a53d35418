package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/pki"
)

// trusted are the CAs of a State as the ring has them, the one that signs
// first. Before the log is there it is what the ring has already.
func trusted(s *fsm.State, ring *pki.Ring) ([]pki.Trusted, error) {
	if s.Cluster.ID == "" {
		return []pki.Trusted{{PEM: ring.PEM()}}, nil
	}
	if len(s.Cluster.CAs) == 0 {
		return []pki.Trusted{{PEM: []byte(s.Cluster.CA)}}, nil
	}
	var first, rest []pki.Trusted
	for _, ca := range s.Cluster.CAs {
		t := pki.Trusted{PEM: []byte(ca.PEM)}
		if ca.State != fsm.CAActive {
			rest = append(rest, t)
			continue
		}
		t.Behind = []byte(s.Cluster.Behind(&ca))
		first = append(first, t)
	}
	if len(first) != 1 {
		return nil, fmt.Errorf("the log has %d CAs that sign", len(first))
	}
	return append(first, rest...), nil
}

// keepTrust makes this host trust what the log says, present certificates of
// the CA that signs, and hold the keys that a server must.
func (d *daemon) keepTrust(ctx context.Context) error {
	d.reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "rexcarcer_ca_locked",
		Help: "1 while the CA's keys on this server are sealed and wait for the passphrase."}, func() float64 {
		if _, locked := d.m.ring.Sealed(); locked {
			return 1
		}
		return 0
	}))
	retry := time.NewTicker(time.Second)
	defer retry.Stop()
	var done fsm.Cluster
	for {
		changed := d.node.Watch()
		s := d.node.State()
		var again <-chan time.Time
		if s.Cluster.ID != "" {
			if err := d.trustOnce(ctx, s, &done); err != nil {
				if ctx.Err() != nil {
					return nil // the daemon ends
				}
				d.log.Warn("what this host trusts is not as the log has it yet", "err", err)
				again = retry.C
			}
		}
		select {
		case <-changed:
		case <-again:
		case <-ctx.Done():
			return nil
		}
	}
}

// trustOnce does what is left to do; all of it can be done again.
func (d *daemon) trustOnce(ctx context.Context, s *fsm.State, done *fsm.Cluster) error {
	if s.Cluster.CA != done.CA || !slices.EqualFunc(s.Cluster.CAs, done.CAs, sameTrust) {
		list, err := trusted(s, d.m.ring)
		if err == nil {
			err = d.m.ring.Trust(list)
		}
		if err != nil {
			return err
		}
		d.log.Info("CAs that are trusted", "count", len(list))
		if err := d.represent(ctx); err != nil {
			return err
		}
		*done = s.Cluster
	}
	if err := d.renounce(ctx, s); err != nil {
		return err
	}
	if !d.m.signs() {
		return nil
	}
	return d.holdKeys(ctx, s)
}

// sameTrust: nothing differs that this host acts on.
func sameTrust(a, b fsm.CA) bool {
	return a.ID == b.ID && a.State == b.State && a.Chain == b.Chain
}

// represent gets certificates of the CA that signs now, if this host's are of
// another or lack what is behind.
func (d *daemon) represent(ctx context.Context) error {
	if d.m.ring.Presents(d.m.identity) {
		return d.m.use(d.o, d.m.identity.Chain()) // joining hosts see all CAs
	}
	if err := d.renewOnce(ctx); err != nil {
		return err
	}
	if !d.m.ring.Presents(d.m.identity) {
		return errors.New("the certificate that this host got is not of the CA that signs now: the server that gave it is behind")
	}
	d.log.Info("this host has a certificate of the CA that signs now", "until", d.m.identity.Leaf().NotAfter)
	return d.adminCert()
}

// renounce replaces this host's own certificate and key when they are revoked.
func (d *daemon) renounce(_ context.Context, s *fsm.State) error {
	leaf := d.m.identity.Leaf()
	if revokedBy(s, leaf) == nil {
		return nil
	}
	if _, err := d.m.ring.Signer(); err != nil {
		return fmt.Errorf("the certificate of this host is revoked, so nobody speaks to it any more: wipe its data directory and join as a new host")
	}
	path := filepath.Join(d.o.DataDir, "pki", "host.key")
	if _, err := pki.EnsureKey(path + ".new"); err != nil {
		return fmt.Errorf("make another key for this host: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("make another key for this host: %w", err)
	}
	if err := d.m.reissue(d.o); err != nil {
		return err
	}
	if revokedBy(s, d.m.identity.Leaf()) != nil {
		return errors.New("the clock here is behind the one by which this host's certificates were revoked: asking again")
	}
	d.log.Warn("the certificate of this host was revoked: it has another key now")
	return nil
}

// holdKeys fetches the keys of CAs that this server lacks, and says so.
func (d *daemon) holdKeys(ctx context.Context, s *fsm.State) error {
	for _, ca := range s.Cluster.CAs {
		if ca.State == fsm.CAOld {
			continue
		}
		if !d.m.ring.Holds([]byte(ca.PEM)) {
			if err := d.fetchKey(ctx, ca); err != nil {
				return fmt.Errorf("get the key of CA %s: %w", ca.ID, err)
			}
			d.log.Info("this server has the key of a CA", "ca", ca.ID)
			if ca.State == fsm.CAActive {
				if err := d.represent(ctx); err != nil {
					return err
				}
			}
		}
		if _, known := s.Hosts.Get(string(d.node.ID())); known && !slices.Contains(ca.Keys, d.node.ID()) {
			if _, err := d.node.Propose(ctx, "host/"+string(d.node.ID()), fsm.HoldCA{ID: ca.ID, Host: d.node.ID()}); err != nil {
				return fmt.Errorf("say that this server has the key of CA %s: %w", ca.ID, err)
			}
		}
	}
	return nil
}

// fetchKey asks the servers that said they have it.
func (d *daemon) fetchKey(ctx context.Context, ca fsm.CA) error {
	if d.peers == nil {
		return pki.ErrNoKey
	}
	last := pki.ErrNoKey
	for _, id := range ca.Keys {
		if id == d.node.ID() {
			continue
		}
		key, err := post(ctx, d.peers.trip, string(id), "/rpc/ca?id="+ca.ID, nil)
		if err == nil {
			err = d.m.ring.Put([]byte(ca.PEM), key)
		}
		if err == nil {
			return nil
		}
		last = err
	}
	return last
}

// caSpread is how long a CA is trusted at least before it signs: hosts put it
// into their jails meanwhile.
const caSpread = 5 * time.Second

// rotateCAs is a leader's duty: a CA whose key all servers have signs, and one
// whose time is over goes.
func (d *daemon) rotateCAs(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		s := d.node.State()
		for _, ca := range s.Cluster.CAs {
			if cmd := nextOf(s, ca, fsm.TimeOf(time.Now())); cmd != nil {
				proposeAll(ctx, d.node, "ca", []fsm.Command{cmd}, d.log)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// nextOf is what is to be done with a CA now, nil for nothing.
func nextOf(s *fsm.State, ca fsm.CA, now fsm.Time) fsm.Command {
	switch {
	case ca.State == fsm.CAOld && now >= ca.RetireAt:
		return fsm.RetireCA{ID: ca.ID}
	case ca.State != fsm.CANew || ca.Hold && ca.Chain == "" || now < ca.AddedAt.Add(caSpread):
		return nil
	case len(lacking(s, ca)) > 0:
		return nil
	}
	return fsm.ActivateCA{ID: ca.ID}
}

// lacking are the servers that do not have a CA's key yet and are not lost:
// those get it when they are back.
func lacking(s *fsm.State, ca fsm.CA) (names []string) {
	for _, h := range s.Hosts.All {
		if h.Role == fsm.RoleServer && (h.State == fsm.HostAlive || h.State == fsm.HostDraining) && !slices.Contains(ca.Keys, h.ID) {
			names = append(names, h.Name)
		}
	}
	return names
}

// revoked says why a certificate is refused.
func (d *daemon) revoked(c *x509.Certificate) error {
	if d.node == nil {
		return nil // the port is open before the log is; nobody is let in by it
	}
	if r := revokedBy(d.node.State(), c); r != nil {
		return fmt.Errorf("certificate %x of %s is revoked since %s: %s", c.SerialNumber, c.Subject, r.At.Time().Format(time.RFC3339), r.Why)
	}
	return nil
}

func revokedBy(s *fsm.State, c *x509.Certificate) *fsm.Revoked {
	if s.Revoked.Len() == 0 {
		return nil
	}
	subject := ""
	if len(c.URIs) == 1 {
		subject = c.URIs[0].String()
	}
	return s.IsRevoked(c.SerialNumber.Text(16), subject, fsm.TimeOf(c.NotBefore.Add(pki.Backdate)))
}

// caPassphrase reads -ca-passphrase-file, nil without it.
func (o options) caPassphrase() ([]byte, error) {
	if o.CAPassphraseFile == "" {
		return nil, nil
	}
	text, err := readSecret(o.CAPassphraseFile)
	if err != nil {
		return nil, fmt.Errorf("ca-passphrase-file: %w", err)
	}
	return text, nil
}

// readSecret is the first line of a file that only its owner may read.
func readSecret(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s has mode %04o, so others may have read it: chmod 600 it, and choose another passphrase", path, info.Mode().Perm())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for i, c := range text {
		if c == '\n' || c == '\r' {
			text = text[:i]
			break
		}
	}
	if len(text) == 0 {
		return nil, fmt.Errorf("%s: its first line is empty", path)
	}
	return text, nil
}
