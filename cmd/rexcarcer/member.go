package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"

	"github.com/rexcarcer/rexcarcer/cluster"
	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/pki"
)

// member is who this host is in its cluster, as its data directory has it.
type member struct {
	id      fsm.HostID
	kept    memberFile
	ring    *pki.Ring // the CAs, and on servers their keys
	cluster string

	identity *pki.Identity // what other members see
	joining  *pki.Identity // the same with the CA behind it, for those that know only its fingerprint
}

// memberFile is DATA/member.json. A host that founded its cluster has none
// until something of it changes.
type memberFile struct {
	Role       string `json:"role"` // server, host
	Joined     bool   `json:"joined,omitempty"`
	Generation uint64 `json:"generation,omitempty"`
	InetNIC    string `json:"inet_nic,omitempty"` // as init was told
}

func readMember(dir string) (memberFile, error) {
	m := memberFile{Role: fsm.RoleServer}
	path := filepath.Join(dir, "member.json")
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil || (m.Role != fsm.RoleServer && m.Role != fsm.RoleHost) {
		return m, fmt.Errorf("read %s: %w: restore it from a backup, or wipe the data directory and join as a new host", path, errors.Join(err, errors.New("it is damaged")))
	}
	return m, nil
}

func writeMember(dir string, m memberFile) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(filepath.Join(dir, "member.json"), b, 0o600); err != nil {
		return fmt.Errorf("write member.json: %w", err)
	}
	return nil
}

// openMember loads or makes what this host is. A host that has not joined
// another founds a cluster of its own.
func openMember(o options) (*member, error) {
	m := &member{}
	var err error
	if m.kept, err = readMember(o.DataDir); err != nil {
		return nil, err
	}
	if m.id, err = cluster.HostID(o.DataDir); err != nil {
		return nil, err
	}
	dir := filepath.Join(o.DataDir, "pki")
	pass, err := o.caPassphrase()
	if err != nil {
		return nil, err
	}
	if m.kept.Role == fsm.RoleServer {
		name := "rc-" + strings.ToLower(strings.TrimPrefix(string(m.id), "h-"))
		m.ring, err = pki.FoundRing(dir, name, time.Now(), rand.Reader, pass)
	} else {
		m.ring, err = pki.OpenRing(dir, rand.Reader, nil)
	}
	if err != nil {
		return nil, fmt.Errorf("cluster CA: %w", err)
	}
	m.cluster = m.ring.Cluster()
	m.identity, m.joining = &pki.Identity{}, &pki.Identity{}
	if _, err := m.ring.Signer(); err == nil {
		return m, m.reissue(o)
	}
	// It does not sign, or not yet: it presents what it had.
	chain, err := os.ReadFile(filepath.Join(dir, "host.crt"))
	if err != nil {
		return nil, fmt.Errorf("certificate of this host: %w", err)
	}
	return m, m.use(o, chain)
}

// signs tells whether this host is one of those that sign, if not now.
func (m *member) signs() bool { return m.kept.Role == fsm.RoleServer }

// present keeps chain on disk and presents it from now on.
func (m *member) present(o options, chain []byte) error {
	if err := renameio.WriteFile(filepath.Join(o.DataDir, "pki", "host.crt"), chain, 0o644, renameio.IgnoreUmask()); err != nil {
		return fmt.Errorf("keep the certificate of this host: %w", err)
	}
	return m.use(o, chain)
}

// use presents chain from now on.
func (m *member) use(o options, chain []byte) error {
	key, err := os.ReadFile(filepath.Join(o.DataDir, "pki", "host.key"))
	if err != nil {
		return fmt.Errorf("key of this host: %w", err)
	}
	return errors.Join(m.identity.Set(chain, key), m.joining.Set(append(chain[:len(chain):len(chain)], m.ring.PEM()...), key))
}

// hostProfile is what the certificate of a member says.
func hostProfile(role string, id fsm.HostID, name string, addrs ...netip.Addr) pki.Profile {
	return pki.Profile{
		ID: pki.ID{Role: pki.Role(role), Name: string(id)}, DNSNames: []string{"localhost", name},
		IPs: append([]netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}, addrs...), Lifetime: hostCertLife, Server: true, Client: true,
	}
}

// reissue makes this host's certificate with the CA that it has.
func (m *member) reissue(o options) error {
	var addrs []netip.Addr
	if a, err := netip.ParseAddr(o.Advertise); err == nil {
		addrs = append(addrs, a)
	}
	ca, err := m.ring.Signer()
	if err != nil {
		return fmt.Errorf("certificate of this host: %w", err)
	}
	chain, err := issue(ca, o.DataDir, "host.key", hostProfile(m.kept.Role, m.id, o.Name, addrs...))
	if err != nil {
		return fmt.Errorf("certificate of this host: %w", err)
	}
	return m.present(o, chain)
}

// issue makes a certificate of ca for a key below the data directory.
func issue(ca *pki.CA, dataDir, keyName string, p pki.Profile) ([]byte, error) {
	signer, err := pki.EnsureKey(filepath.Join(dataDir, "pki", keyName))
	if err != nil {
		return nil, err
	}
	csr, err := pki.NewCSR(signer, p.ID.Name)
	if err != nil {
		return nil, err
	}
	return pki.Issue(ca, csr, p, time.Now())
}

// renew replaces this host's certificate at two thirds of its life, for as
// long as it runs. Connections that are open stay.
func (d *daemon) renew(ctx context.Context) error {
	retry := time.Minute
	for {
		at := time.Until(pki.RenewAt(d.m.identity.Leaf()))
		if at > 0 {
			if !sleep(ctx, at) {
				return nil
			}
		}
		err := d.renewOnce(ctx)
		if err == nil {
			d.log.Info("the certificate of this host was renewed", "until", d.m.identity.Leaf().NotAfter)
			retry = time.Minute
			continue
		}
		d.log.Warn("the certificate of this host cannot be renewed, trying again", "until", d.m.identity.Leaf().NotAfter, "err", err)
		if !sleep(ctx, retry) {
			return nil
		}
		retry = min(2*retry, time.Hour)
	}
}

func (d *daemon) renewOnce(ctx context.Context) error {
	if _, err := d.m.ring.Signer(); err == nil {
		return d.m.reissue(d.o)
	}
	signer, err := pki.EnsureKey(filepath.Join(d.o.DataDir, "pki", "host.key"))
	if err != nil {
		return err
	}
	csr, err := pki.NewCSR(signer, string(d.m.id))
	if err != nil {
		return err
	}
	chain, err := d.askServers(ctx, "/rpc/renew", csr)
	if err != nil {
		return err
	}
	if _, id, err := pki.Verify(chain, d.m.ring.Roots(), time.Now()); err != nil || id.Name != string(d.m.id) {
		return fmt.Errorf("a server sent a certificate of %s: %w", id, err)
	}
	return d.m.present(d.o, chain)
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
