package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/google/renameio/v2"
	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/cluster"
	"github.com/rexcarcer/rexcarcer/cluster/join"
	"github.com/rexcarcer/rexcarcer/cluster/transport"
	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/pki"
)

// joinCommand makes this host a member of a cluster that is there.
func joinCommand() *cli.Command {
	return &cli.Command{
		Name: "join", Usage: "become a member of a cluster", ArgsUsage: "ADDR",
		Description: "ADDR is the cluster port of a server: HOST or HOST:7370. The token comes from `rexctl token create` there; it says\n" +
			"which cluster it is, so nothing else is copied. Start rexcarcer afterwards, with the same options. Example:\n\n" +
			"   rexcarcer join host1:7370 -token REX1-... && rexcarcer",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "token", Usage: "`TOKEN`, or @FILE that holds it", EnvVars: []string{"REXCARCER_TOKEN"}, Required: true},
			&cli.StringFlag{Name: "role", Usage: "server or host: refuse a token for the other one"},
		}, daemonFlags()...),
		Action: func(c *cli.Context) error {
			addr, err := joinAddr(c.Args().Slice())
			if err != nil {
				return err
			}
			o, err := optionsFrom(c)
			if err != nil {
				return usageError{err}
			}
			if err := o.complete(); err != nil {
				return err
			}
			text := c.String("token")
			if len(text) > 1 && text[0] == '@' {
				b, err := os.ReadFile(text[1:])
				if err != nil {
					return fmt.Errorf("read the token: %w", err)
				}
				text = string(b)
			}
			token, err := join.Parse(text)
			if err != nil {
				return err
			}
			return joinCluster(c.Context, o, addr, token, c.String("role"), c)
		},
	}
}

// joinAddr is the one argument. Flags that stand behind it are not read by
// the library: they are told to go before it.
func joinAddr(args []string) (string, error) {
	if len(args) != 1 {
		return "", usageError{errors.New("where? rexcarcer join -token TOKEN HOST:7370")}
	}
	addr := args[0]
	if _, _, err := net.SplitHostPort(addr); err != nil {
		addr = net.JoinHostPort(addr, strconv.Itoa(clusterPort))
	}
	return addr, nil
}

// joinCluster asks for a certificate and leaves in the data directory what
// the daemon needs. Each step can be done again after a crash.
func joinCluster(ctx context.Context, o options, addr string, token join.Token, role string, c *cli.Context) error {
	if o.ClusterPort == 0 {
		return usageError{errors.New("a member needs a -cluster-port")}
	}
	if err := openDataDir(o.DataDir); err != nil {
		return err
	}
	kept, err := readMember(o.DataDir)
	if err != nil {
		return err
	}
	if kept.Joined {
		_, err := fmt.Fprintf(c.App.Writer, "this host has joined already, as %s: start rexcarcer\n", kept.Role)
		return err
	}
	if _, err := os.Stat(filepath.Join(o.DataDir, "raft", "raft.db")); err == nil {
		return fmt.Errorf("%s holds the log of a cluster already: to leave that one, remove the directory, or choose another -data-dir", o.DataDir)
	}
	id, err := cluster.HostID(o.DataDir)
	if err != nil {
		return err
	}
	signer, err := pki.EnsureKey(filepath.Join(o.DataDir, "pki", "host.key"))
	if err != nil {
		return err
	}
	csr, err := pki.NewCSR(signer, string(id))
	if err != nil {
		return err
	}
	ask, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	a, err := join.Do(ask, addr, token, join.Request{Host: string(id), Name: o.Name, Role: role, Peer: hostPort(o.Advertise, o.ClusterPort), CSR: csr}, signer, time.Now)
	if err != nil {
		return err
	}
	if err := keepMembership(ctx, o, a); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.App.Writer, "joined cluster %s as %s %s (%s)\nnext: start rexcarcer with the same options\n", a.Cluster, a.Role, o.Name, id)
	return err
}

// keepMembership writes what was got; member.json comes last and makes it so.
func keepMembership(ctx context.Context, o options, a join.Answer) error {
	dir := filepath.Join(o.DataDir, "pki")
	for name, text := range map[string]string{"host.crt": a.Chain, "ca.crt": a.CA} {
		if err := renameio.WriteFile(filepath.Join(dir, name), []byte(text), 0o644, renameio.IgnoreUmask()); err != nil {
			return fmt.Errorf("keep %s: %w", name, err)
		}
	}
	if a.Role == fsm.RoleServer {
		if err := fetchCA(ctx, o, a); err != nil {
			return err
		}
	}
	book := map[fsm.HostID]string{}
	for peer, at := range a.Peers {
		book[fsm.HostID(peer)] = at
	}
	if err := cluster.WriteBook(o.DataDir, book); err != nil {
		return err
	}
	return writeMember(o.DataDir, memberFile{Role: a.Role, Joined: true, Generation: a.Generation})
}

// fetchCA gets the CA's key from a server, over the certificate that this one
// has now: every server signs when it leads.
func fetchCA(ctx context.Context, o options, a join.Answer) error {
	dir := filepath.Join(o.DataDir, "pki")
	key, err := os.ReadFile(filepath.Join(dir, "host.key"))
	if err != nil {
		return err
	}
	identity, err := pki.NewIdentity([]byte(a.Chain), key)
	if err != nil {
		return err
	}
	pass, err := o.caPassphrase()
	if err != nil {
		return err
	}
	ring, err := pki.OpenRing(dir, rand.Reader, pass)
	if err != nil {
		return err
	}
	dialer := transport.NewDialer(transport.Config{Cluster: a.Cluster, Identity: identity, Roots: ring.Roots, Clock: time.Now})
	trip := dialer.RoundTripper(transport.RPC, func(id string) (string, bool) { addr, ok := a.Peers[id]; return addr, ok })
	defer trip.CloseIdleConnections()
	var last error
	for peer := range a.Peers {
		text, err := post(ctx, trip, peer, "/rpc/ca", nil)
		if err == nil {
			if err = ring.Put(ring.PEM(), text); err == nil {
				return nil
			}
		}
		last = err
	}
	return fmt.Errorf("get the CA's key from a server: %w: join again", last)
}
