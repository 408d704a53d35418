package dnsd

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/miekg/dns"
)

// How long signatures count, seconds. They are made anew at half of that. A
// secondary keeps what it was given, so it must be longer than the log is
// likely to stand still.
const (
	signatureLife = 30 * 86400
	signatureSkew = 3600 // other clocks may be behind
	keyTTL        = 3600
	maxProofs     = 4096 // negative answers whose signature is kept
)

// Signer signs zones with one key, ECDSA P-256 (RFC 6605), which is key signing
// and zone signing key in one.
type Signer struct {
	key    *ecdsa.PrivateKey
	public string // in base64, as in a DNSKEY record

	mu     sync.Mutex
	proofs map[string]*signature // guarded by mu; of NSEC and SOA records, by what they say
}

// signature is an RRSIG over a set, in canonical letters.
type signature struct {
	rrsig *dns.RRSIG
	until int64 // then it is made anew, Unix seconds
}

// LoadSigner reads the key in the PEM file path, and makes one if there is none.
func LoadSigner(path string) (*Signer, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		data, err = makeKey(path)
	}
	if err != nil {
		return nil, fmt.Errorf("key that signs DNS: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("key that signs DNS: %s is no PEM file", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("key that signs DNS: %s: %w", path, err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("key that signs DNS: %s: want an ECDSA key on P-256", path)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		return nil, fmt.Errorf("key that signs DNS: %s: %w", path, err)
	}
	// RFC 6605 section 4: the point without the byte that says how it is coded.
	return &Signer{key: key, public: base64.StdEncoding.EncodeToString(point[1:]), proofs: map[string]*signature{}}, nil
}

// makeKey writes a new key to path, whole or not at all.
func makeKey(path string) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	data := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	file, err := os.CreateTemp(filepath.Dir(path), ".dns-key-*") // mode 0600
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(file.Name()) }() // nothing is there when all went well
	_, err = file.Write(data)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return nil, err
	}
	return data, os.Rename(file.Name(), path)
}

// Sign has h sign what it is asked with DNSSEC OK. It is called before anything
// is answered.
func (h *Handler) Sign(s *Signer) { h.signer = s }

// dnskey is the key's record at zone.
func (s *Signer) dnskey(zone string) *dns.DNSKEY {
	return &dns.DNSKEY{
		Hdr:   dns.RR_Header{Name: zone, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: keyTTL},
		Flags: dns.ZONE | dns.SEP, Protocol: 3, Algorithm: dns.ECDSAP256SHA256, PublicKey: s.public,
	}
}

// Anchor is the trust anchor of zone, a DS record as in a zone file: what a validating resolver
// must be told, since nobody above signs for the zone.
func (s *Signer) Anchor(zone string) string {
	return strings.Join(strings.Fields(s.dnskey(dns.Fqdn(strings.ToLower(zone))).ToDS(dns.SHA256).String()), " ")
}

// Anchor is the trust anchor of zone, as Signer.Anchor gives it; empty if h does
// not sign.
func (h *Handler) Anchor(zone string) string {
	if h.signer == nil {
		return ""
	}
	return h.signer.Anchor(zone)
}

// over signs rrs, a set of zone in lower case.
func (s *Signer) over(rrs []dns.RR, zone string, now int64) (*signature, error) {
	sig := &dns.RRSIG{
		Hdr:        dns.RR_Header{Ttl: rrs[0].Header().Ttl},
		Algorithm:  dns.ECDSAP256SHA256,
		KeyTag:     s.dnskey(zone).KeyTag(),
		SignerName: zone,
		Inception:  uint32(now - signatureSkew),
		Expiration: uint32(now + signatureLife),
	}
	if err := sig.Sign(s.key, rrs); err != nil {
		return nil, fmt.Errorf("sign %s %s: %w", rrs[0].Header().Name, dns.TypeToString[rrs[0].Header().Rrtype], err)
	}
	return &signature{rrsig: sig, until: now + signatureLife/2}, nil
}

// set is the signature over rrs, the set a, which keeps it.
func (s *Signer) set(a *answer, rrs []dns.RR, zone string, now int64) (dns.RR, error) {
	if kept := a.sig.Load(); kept != nil && now < kept.until {
		return dns.Copy(kept.rrsig), nil
	}
	sig, err := s.over(rrs, zone, now)
	if err != nil {
		return nil, err
	}
	a.sig.Store(sig)
	return dns.Copy(sig.rrsig), nil
}

// proof is the signature over one record that is made for an answer: NSEC, SOA,
// DNSKEY. The last of them are kept.
func (s *Signer) proof(rr dns.RR, zone string, now int64) (dns.RR, error) {
	key := rr.String()
	s.mu.Lock()
	kept := s.proofs[key]
	s.mu.Unlock()
	if kept == nil || now >= kept.until {
		var err error
		if kept, err = s.over([]dns.RR{rr}, zone, now); err != nil {
			return nil, err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.proofs) >= maxProofs {
			clear(s.proofs)
		}
		s.proofs[key] = kept
	}
	return dns.Copy(kept.rrsig), nil
}

// nameOf is a name in wire format as miekg/dns has it.
func nameOf(wire string) string {
	name, _, err := dns.UnpackDomainName([]byte(wire), 0)
	if err != nil {
		panic(fmt.Sprintf("name %q: %v", wire, err)) // it was parsed or packed by us
	}
	return name
}
