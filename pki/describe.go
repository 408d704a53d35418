package pki

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"text/tabwriter"
	"time"
)

// Description is a certificate in words, for `rexctl cert show` and its JSON.
type Description struct {
	ID          string       `json:"id"` // SPIFFE URI, "" if it has none
	Subject     string       `json:"subject"`
	Issuer      string       `json:"issuer"`
	Serial      string       `json:"serial"` // hex
	NotBefore   time.Time    `json:"not_before"`
	NotAfter    time.Time    `json:"not_after"`
	RenewAt     time.Time    `json:"renew_at"`
	DNSNames    []string     `json:"dns_names,omitempty"`
	IPs         []netip.Addr `json:"ips,omitempty"`
	Usage       []string     `json:"usage,omitempty"` // server, client, ca
	Key         string       `json:"key"`             // algorithm of the public key
	Fingerprint string       `json:"fingerprint"`     // sha256:<hex> of the DER
}

// Describe tells what the first certificate of certPEM says; nothing is
// verified.
func Describe(certPEM []byte) (Description, error) {
	certs, err := ParseChain(certPEM)
	if err != nil {
		return Description{}, err
	}
	cert := certs[0]
	sum := sha256.Sum256(cert.Raw)
	d := Description{
		Subject: cert.Subject.String(), Issuer: cert.Issuer.String(), Serial: fmt.Sprintf("%x", cert.SerialNumber),
		NotBefore: cert.NotBefore, NotAfter: cert.NotAfter, RenewAt: RenewAt(cert).UTC().Truncate(time.Second),
		DNSNames: cert.DNSNames, Key: cert.PublicKeyAlgorithm.String(), Fingerprint: "sha256:" + hex.EncodeToString(sum[:]),
	}
	if len(cert.URIs) == 1 {
		d.ID = cert.URIs[0].String()
	}
	for _, ip := range cert.IPAddresses {
		if addr, ok := netip.AddrFromSlice(ip); ok {
			d.IPs = append(d.IPs, addr.Unmap())
		}
	}
	if cert.IsCA {
		d.Usage = append(d.Usage, "ca")
	}
	for _, usage := range cert.ExtKeyUsage {
		switch usage {
		case x509.ExtKeyUsageServerAuth:
			d.Usage = append(d.Usage, "server")
		case x509.ExtKeyUsageClientAuth:
			d.Usage = append(d.Usage, "client")
		}
	}
	return d, nil
}

// String is d as lines of "name  value".
func (d Description) String() string {
	var b strings.Builder
	tw := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(tw, "%s\t%s\n", name, value)
		}
	}
	var ips []string
	for _, ip := range d.IPs {
		ips = append(ips, ip.String())
	}
	line("id", d.ID)
	line("subject", d.Subject)
	line("issuer", d.Issuer)
	line("serial", d.Serial)
	line("valid from", d.NotBefore.Format(time.RFC3339))
	line("valid until", d.NotAfter.Format(time.RFC3339))
	line("renew at", d.RenewAt.Format(time.RFC3339))
	line("dns names", strings.Join(d.DNSNames, " "))
	line("addresses", strings.Join(ips, " "))
	line("usage", strings.Join(d.Usage, " "))
	line("key", d.Key)
	line("fingerprint", d.Fingerprint)
	_ = tw.Flush() // into memory: cannot fail
	return b.String()
}
