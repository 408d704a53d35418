package main

import (
	"bufio"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/dnsd"
)

// dnsOptions are who may have whole zones of this host's DNS server, and how
// they are signed.
type dnsOptions struct {
	Peers   []dnsd.Peer
	Targets []dnsd.Target
	Keys    []dnsd.Key
	SignKey string // file of the key; "": nothing is signed
	Unbound string // configuration of an unbound that gets our records; "": none does
}

func dnsFlags(env func(string) []string) []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "dns-transfer", Usage: "`ADDRESS[/LENGTH][=KEY]` of a secondary that may have whole zones, if it signs with KEY; may be repeated (default: nobody)", EnvVars: env("dns-transfer")},
		&cli.StringSliceFlag{Name: "dns-notify", Usage: "`ADDRESS[:PORT][=KEY]` of a secondary that is told of changes; may be repeated (default: nobody)", EnvVars: env("dns-notify")},
		&cli.StringFlag{Name: "dns-keys", Usage: "`FILE` of the keys of secondaries, one [ALGORITHM:]NAME:SECRET a line as dig -y takes it, for root's eyes only", EnvVars: env("dns-keys")},
		&cli.StringFlag{Name: "dns-sign", Usage: "sign answers (DNSSEC) with the key in `FILE`, which is made if it is not there; give all hosts the same (default: unsigned)", EnvVars: env("dns-sign")},
		&cli.StringFlag{Name: "dns-unbound", Usage: "`FILE` that configures an unbound on this host, which is given all records by unbound-control (default: none)", EnvVars: env("dns-unbound")},
	}
}

// dnsOptions reads them; what a flag or variable says replaces what the file does.
func (o *options) dnsOptions(c *cli.Context, file fileConfig, text func(string, *string) string) (err error) {
	list := func(flag string, from []string) []string {
		if c.IsSet(flag) {
			return c.StringSlice(flag)
		}
		return from
	}
	if path := text("dns-keys", file.DNSKeys); path != "" {
		if o.DNS.Keys, err = readDNSKeys(path); err != nil {
			return fmt.Errorf("dns-keys: %w", err)
		}
	}
	for _, s := range list("dns-transfer", file.DNSTransfer) {
		addr, key, err := o.DNS.splitKey(s)
		if err != nil {
			return fmt.Errorf("dns-transfer %q: %w", s, err)
		}
		p := dnsd.Peer{Key: key}
		if p.Net, err = netip.ParsePrefix(addr); err != nil {
			a, err := netip.ParseAddr(addr)
			if err != nil {
				return fmt.Errorf("dns-transfer %q: want ADDRESS[/LENGTH][=KEY]: %w", s, err)
			}
			p.Net = netip.PrefixFrom(a, a.BitLen())
		}
		p.Net = p.Net.Masked()
		o.DNS.Peers = append(o.DNS.Peers, p)
	}
	for _, s := range list("dns-notify", file.DNSNotify) {
		addr, key, err := o.DNS.splitKey(s)
		if err != nil {
			return fmt.Errorf("dns-notify %q: %w", s, err)
		}
		addrs, err := parseResolvers([]string{addr})
		if err != nil {
			return fmt.Errorf("dns-notify %q: want ADDRESS[:PORT][=KEY]: %w", s, err)
		}
		o.DNS.Targets = append(o.DNS.Targets, dnsd.Target{Addr: addrs[0], Key: key})
	}
	o.DNS.SignKey, o.DNS.Unbound = text("dns-sign", file.DNSSign), text("dns-unbound", file.DNSUnbound)
	return nil
}

// splitKey is what stands before = in s, and the full name of the key behind
// it, which must be known.
func (d *dnsOptions) splitKey(s string) (addr, key string, err error) {
	addr, name, signs := strings.Cut(s, "=")
	if !signs {
		return addr, "", nil
	}
	want := strings.ToLower(strings.TrimSuffix(name, ".")) + "."
	for _, k := range d.Keys {
		if k.Name == want {
			return addr, want, nil
		}
	}
	return "", "", fmt.Errorf("the file of -dns-keys has no key %s", name)
}

// readDNSKeys reads the file of -dns-keys. Whoever can read it can have our
// zones, so nobody else may.
func readDNSKeys(path string) (keys []dnsd.Key, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close() // it was only read
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others: chmod 600 %s", path, path)
	}
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, err := dnsd.ParseKey(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, n, err)
		}
		keys = append(keys, key)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, errors.New(path + " has no key: make one with tsig-keygen, and write [ALGORITHM:]NAME:SECRET")
	}
	return keys, nil
}
