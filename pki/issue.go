package pki

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// maxNames bounds the SANs of one certificate.
const maxNames = 256

// Profile is everything that a certificate says beside its key. All of it
// comes from the signing side.
type Profile struct {
	ID       ID // Cluster may be empty: the CA's
	DNSNames []string
	IPs      []netip.Addr
	Lifetime time.Duration // from now; at least 1 s, and never beyond the CA's own end
	Server   bool          // may be presented by a TLS server
	Client   bool          // may be presented by a TLS client
}

// Issue signs csrDER's public key for p, valid from Backdate before now. It
// returns PEM: the certificate, then what CA.Behind has been told. Who receives it calls Verify: Issue does not
// check its own signature.
func Issue(ca *CA, csrDER []byte, p Profile, now time.Time) ([]byte, error) {
	if p.ID.Cluster == "" {
		p.ID.Cluster = ca.cluster
	}
	chain, err := issue(ca, csrDER, p, now.UTC())
	if err != nil {
		return nil, fmt.Errorf("issue a certificate for %s: %w", p.ID, err)
	}
	return chain, nil
}

func issue(ca *CA, csrDER []byte, p Profile, now time.Time) ([]byte, error) {
	template, err := p.template(ca, now)
	if err != nil {
		return nil, err
	}
	public, err := provenKey(csrDER)
	if err != nil {
		return nil, err
	}
	if template.SerialNumber, err = newSerial(ca.rand); err != nil {
		return nil, err
	}
	var der []byte
	if isP256(ca.cert.PublicKey) {
		der, err = certificateP256(template, ca, public)
	} else {
		der, err = x509.CreateCertificate(rand.Reader, template, ca.cert, public, ca.key)
	}
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: pemCert, Bytes: der}), ca.behind...), nil
}

// template checks p and turns it into what crypto/x509 signs.
func (p Profile) template(ca *CA, now time.Time) (*x509.Certificate, error) {
	if p.ID.Cluster != ca.cluster {
		return nil, fmt.Errorf("this CA signs for cluster %q only", ca.cluster)
	}
	uri, err := p.ID.uri()
	if err != nil {
		return nil, err
	}
	if p.Lifetime < time.Second {
		return nil, fmt.Errorf("lifetime %s: want at least 1s", p.Lifetime)
	}
	if now.Before(ca.cert.NotBefore) || !now.Before(ca.cert.NotAfter) {
		return nil, fmt.Errorf("it is %s here, but the CA is valid from %s to %s: check this host's clock",
			now.Format(time.RFC3339), ca.cert.NotBefore.Format(time.RFC3339), ca.cert.NotAfter.Format(time.RFC3339))
	}
	usage := p.usage()
	if len(usage) == 0 {
		return nil, errors.New("neither server nor client use asked for")
	}
	ips, err := p.names()
	if err != nil {
		return nil, err
	}
	end := now.Add(p.Lifetime)
	if end.After(ca.cert.NotAfter) {
		end = ca.cert.NotAfter
	}
	return &x509.Certificate{
		Subject:               pkix.Name{CommonName: clip(p.ID.Name, 64)},
		NotBefore:             now.Add(-Backdate).Truncate(time.Second),
		NotAfter:              end.Truncate(time.Second),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           usage,
		BasicConstraintsValid: true,
		DNSNames:              p.DNSNames,
		IPAddresses:           ips,
		URIs:                  []*url.URL{uri},
	}, nil
}

func (p Profile) usage() (usage []x509.ExtKeyUsage) {
	if p.Server {
		usage = append(usage, x509.ExtKeyUsageServerAuth)
	}
	if p.Client {
		usage = append(usage, x509.ExtKeyUsageClientAuth)
	}
	return usage
}

// names checks the SANs; wildcards and odd bytes are refused, for a SAN is
// what verifiers elsewhere will believe.
func (p Profile) names() ([]net.IP, error) {
	if len(p.DNSNames)+len(p.IPs) > maxNames {
		return nil, fmt.Errorf("%d names and addresses: the limit is %d", len(p.DNSNames)+len(p.IPs), maxNames)
	}
	for _, name := range p.DNSNames {
		if !isDNSName(name) {
			return nil, fmt.Errorf("DNS name %q: want lower-case labels of letters, digits, '-' and '_', no wildcard, no trailing dot", name)
		}
	}
	var ips []net.IP
	for _, ip := range p.IPs {
		if !ip.IsValid() || ip.Zone() != "" {
			return nil, fmt.Errorf("address %q cannot stand in a certificate", ip)
		}
		ips = append(ips, ip.Unmap().AsSlice())
	}
	return ips, nil
}

// isDNSName accepts lower-case host names, with '_' as service names have it.
func isDNSName(name string) bool {
	if len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if c := label[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}
