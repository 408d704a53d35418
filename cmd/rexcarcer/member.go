package main

import (
	"context"
	"crypto/rand"
	"crypto/x509"
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
	ca      *pki.CA // nil: this host does not sign
	caPEM   []byte
	roots   *x509.CertPool
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
	if m.kept.Role == fsm.RoleServer {
		name := "rc-" + strings.ToLower(strings.TrimPrefix(string(m.id), "h-"))
		if m.ca, err = pki.OpenCA(dir, name, time.Now(), rand.Reader); err != nil {
			return nil, fmt.Errorf("cluster CA: %w", err)
		}
	}
	if m.caPEM, err = os.ReadFile(filepath.Join(dir, "ca.crt")); err != nil {
		return nil, fmt.Errorf("cluster CA: %w", err)
	}
	if m.roots, err = pki.NewPool(m.caPEM); err != nil {
		return nil, fmt.Errorf("cluster CA: %w", err)
	}
	certs, err := pki.ParseChain(m.caPEM)
	if err != nil {
		return nil, fmt.Errorf("cluster CA: %w", err)
	}
	m.cluster = certs[0].URIs[0].Host // NewCA puts it there
	m.identity, m.joining = &pki.Identity{}, &pki.Identity{}
	if m.ca != nil {
		return m, m.reissue(o)
	}
	chain, err := os.ReadFile(filepath.Join(dir, "host.crt"))
	if err != nil {
		return nil, fmt.Errorf("certificate of this host: %w", err)
	}
	return m, m.use(o, chain)
}

// use presents chain from now on.
func (m *member) use(o options, chain []byte) error {
	key, err := os.ReadFile(filepath.Join(o.DataDir, "pki", "host.key"))
	if err != nil {
		return fmt.Errorf("key of this host: %w", err)
	}
	return errors.Join(m.identity.Set(chain, key), m.joining.Set(append(chain[:len(chain):len(chain)], m.caPEM...), key))
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
	chain, err := issue(m.ca, o.DataDir, "host.key", hostProfile(m.kept.Role, m.id, o.Name, addrs...))
	if err != nil {
		return fmt.Errorf("certificate of this host: %w", err)
	}
	return m.use(o, chain)
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
	if d.m.ca != nil {
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
	if _, id, err := pki.Verify(chain, d.m.roots, time.Now()); err != nil || id.Name != string(d.m.id) {
		return fmt.Errorf("a server sent a certificate of %s: %w", id, err)
	}
	if err := renameio.WriteFile(filepath.Join(d.o.DataDir, "pki", "host.crt"), chain, 0o644, renameio.IgnoreUmask()); err != nil {
		return fmt.Errorf("keep the certificate of this host: %w", err)
	}
	return d.m.use(d.o, chain)
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
