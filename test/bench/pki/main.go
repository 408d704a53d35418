// Command pki measures how many jails a second get a key and a certificate on
// one core: ours with request, proof, issue and the two entries of the log,
// beside a bare x509.CreateCertificate with a fresh key.
package main

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"flag"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"os"
	"runtime"
	"syscall"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/pki"
	"github.com/rexcarcer/rexcarcer/test/bench/report"
)

const goal = 0.8

// ballast is what the daemon has too, see cmd/rexcarcer: a heap of a few MB
// would be collected all the time.
var ballast = make([]byte, 32<<20)

func main() {
	rounds := flag.Int("rounds", 5, "measurements of each, by turns")
	length := flag.Duration("length", time.Second, "processor time of each")
	flag.Parse()
	runtime.GOMAXPROCS(1)
	defer runtime.KeepAlive(ballast)
	if err := bench(*rounds, *length); err != nil {
		fmt.Fprintln(os.Stderr, "bench pki:", err)
		os.Exit(1)
	}
}

func bench(rounds int, length time.Duration) error {
	key, err := pki.NewKey()
	if err != nil {
		return err
	}
	ca, err := pki.NewCA("rc-bench", key, time.Now(), rand.Reader)
	if err != nil {
		return err
	}
	root, err := x509.ParseCertificate(must(pki.ParseChain(ca.CertPEM()))[0].Raw)
	if err != nil {
		return err
	}
	row := report.Row{Name: "key and certificate for a jail", Unit: "jails/cpu-s", PeerName: "bare x509", HigherIsBetter: true}
	for range rounds {
		for _, side := range []struct {
			into *[]float64
			do   func() error
		}{
			{&row.Ours, func() error { return ours(ca) }},
			{&row.Peer, func() error { return bare(root, key) }},
		} {
			rate, err := measure(length, side.do)
			if err != nil {
				return err
			}
			*side.into = append(*side.into, rate)
		}
	}
	if err := report.Write("pki", []report.Row{row}); err != nil {
		return err
	}
	if r := row.Ratio(); r < goal {
		fmt.Printf("FELL SHORT: %.2fx of bare x509, the goal is %.1fx\n", r, goal)
	}
	return nil
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // the CA's own certificate
	}
	return v
}

func measure(length time.Duration, do func() error) (float64, error) {
	n, begun := 0, cpuTime()
	for {
		if err := do(); err != nil {
			return 0, err
		}
		n++
		if spent := cpuTime() - begun; spent >= length {
			return float64(n) / spent.Seconds(), nil
		}
	}
}

// ours is a jail's whole way, with the encoding of what goes through the log.
func ours(ca *pki.CA) error {
	now := time.Now()
	key, err := pki.NewKey()
	if err != nil {
		return err
	}
	csr, err := pki.NewCSR(key, "web-1")
	if err != nil {
		return err
	}
	chain, err := pki.Issue(ca, csr, pki.Profile{ID: pki.ID{Role: pki.RoleJail, Name: "web-1"}, DNSNames: []string{"web-1.prod.rex.internal", "web.prod.rex.internal"},
		IPs: []netip.Addr{netip.MustParseAddr("10.66.0.5")}, Lifetime: time.Hour, Server: true, Client: true}, now)
	if err != nil {
		return err
	}
	for _, cmd := range []fsm.Command{fsm.RequestCert{Jail: "web-1", Host: "h-1", Seq: 1, CSR: csr},
		fsm.SetCert{Jail: "web-1", CSRSeq: 1, PEM: string(chain), Serial: "1", NotAfter: fsm.TimeOf(now)}} {
		raw, err := fsm.Encode(fsm.Entry{V: fsm.Version, ID: "01", At: fsm.TimeOf(now), By: "bench", Cmd: cmd})
		if err == nil {
			_, err = fsm.Decode(raw)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func bare(root *x509.Certificate, caKey any) error {
	key, err := pki.NewKey()
	if err != nil {
		return err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "web-1"},
		NotBefore: now, NotAfter: now.Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
		DNSNames: []string{"web-1.prod.rex.internal", "web.prod.rex.internal"}, IPAddresses: []net.IP{net.IPv4(10, 66, 0, 5)},
		URIs: []*url.URL{{Scheme: "spiffe", Host: "rc-bench", Path: "/jail/web-1"}},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, root, key.Public(), caKey)
	if err == nil && len(der) == 0 {
		err = errors.New("an empty certificate")
	}
	return err
}

// cpuTime of this process: unlike the clock it does not count what others do.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
