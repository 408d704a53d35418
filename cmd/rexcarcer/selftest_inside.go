package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
)

var jailsOfSelftest = api.JailFilter{Wish: "selftest"}

// selftestInsideCommand is what runs in the jails of a selftest.
func selftestInsideCommand() *cli.Command {
	return &cli.Command{
		Name: "selftest-inside", Hidden: true, Usage: "(internal) the program of a selftest's jails",
		Action: func(c *cli.Context) error { return selftestInside(c.Context, c.App.Writer, c.Args().Slice()) },
	}
}

func selftestInside(ctx context.Context, out io.Writer, args []string) error {
	args = append(args, "", "")
	var text string
	var err error
	switch args[0] {
	case "serve":
		return serveHello(ctx)
	case "address":
		text, err = ownAddresses()
	case "resolve":
		var found []string
		if found, err = (&net.Resolver{PreferGo: true}).LookupHost(ctx, args[1]); err == nil {
			text = found[0]
		}
	case "reverse":
		var found []string
		if found, err = (&net.Resolver{PreferGo: true}).LookupAddr(ctx, args[1]); err == nil {
			text = found[0]
		}
	case "dial":
		text, err = dial(ctx, args[1])
	case "certificate":
		text, err = checkCertificate(args[1])
	case "files":
		text, err = openFiles(args[1])
	default:
		err = fmt.Errorf("no such probe: %q", args[0])
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, text)
	return err
}

// serveHello says on port 7000 who it is and whom it sees.
func serveHello(ctx context.Context) error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", ":7000")
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		_, _ = fmt.Fprintf(c, "%s sees %s\n", name, c.RemoteAddr()) // a caller that goes away is its own affair
		_ = c.Close()
	}
}

// ownAddresses is the hostname and all addresses, each on a line.
func ownAddresses() (string, error) {
	text, err := os.Hostname()
	if err != nil {
		return "", err
	}
	all, err := net.InterfaceAddrs()
	for _, a := range all {
		text += "\n" + a.String()
	}
	return text, err
}

// checkCertificate verifies the jail's own files as a peer would.
func checkCertificate(name string) (string, error) {
	pair, err := tls.LoadX509KeyPair("/etc/ssl/rc/host.crt", "/etc/ssl/rc/host.key")
	if err != nil {
		return "", err
	}
	ca, err := os.ReadFile("/etc/ssl/rc/cluster.crt")
	if err != nil {
		return "", err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return "", errors.New("/etc/ssl/rc/cluster.crt holds no certificate")
	}
	_, err = pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s has key and certificate of the cluster's CA, until %s", name, pair.Leaf.NotAfter.UTC().Format(time.DateTime)), nil
}

// openFiles opens so many files at once, and says how many it could.
func openFiles(most string) (string, error) {
	n, err := strconv.Atoi(most)
	if err != nil {
		return "", err
	}
	var open []*os.File
	defer func() {
		for _, f := range open {
			_ = f.Close()
		}
	}()
	for len(open) < n {
		f, err := os.Open("/etc/passwd")
		if err != nil {
			break
		}
		open = append(open, f)
	}
	return strconv.Itoa(len(open)), nil
}
