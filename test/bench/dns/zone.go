package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/rexcarcer/rexcarcer/dnsd"
)

const (
	domain  = "rex.internal"
	records = 20000
)

// table is the zone: half addresses of hosts, half services of one member.
func table() *dnsd.Table {
	t := &dnsd.Table{Domain: domain, Serial: 1, NS: []netip.Addr{netip.MustParseAddr("10.0.255.1")}}
	for i := range records / 2 {
		host := fmt.Sprintf("host-%d.prod.%s", i, domain)
		t.Records = append(t.Records,
			dnsd.Record{Name: host, Type: "A", TTL: 30, Addr: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})},
			dnsd.Record{Name: fmt.Sprintf("_svc-%d._tcp.prod.%s", i, domain), Type: "SRV", TTL: 5, Target: host, Port: 8080})
	}
	return t
}

// serveOurs answers from table on address until ctx ends.
func serveOurs(ctx context.Context, address string) error {
	addr, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	handler := dnsd.NewHandler(nil, nil)
	handler.SetZone(dnsd.NewZone(table()))
	server, err := dnsd.Listen(ctx, []netip.AddrPort{addr}, handler, nil, slog.Default())
	if err != nil {
		return err
	}
	return server.Run(ctx)
}

// files are what CoreDNS and dnsperf read.
type files struct{ corefile, queries string }

func writeFiles(dir string) (f files, err error) {
	f = files{filepath.Join(dir, "Corefile"), filepath.Join(dir, "queries")}
	zonefile := filepath.Join(dir, "zone")
	var zone bytes.Buffer
	fmt.Fprintf(&zone, "%s. 5 IN SOA ns.%s. hostmaster.%s. 1 60 30 86400 5\n%s. 60 IN NS ns.%s.\nns.%s. 60 IN A 10.0.255.1\n",
		domain, domain, domain, domain, domain, domain)
	var queries []string
	for _, r := range table().Records {
		data := r.Addr.String()
		if r.Type == "SRV" {
			data = fmt.Sprintf("0 1 %d %s.", r.Port, r.Target)
		}
		fmt.Fprintf(&zone, "%s. %d IN %s %s\n", r.Name, r.TTL, r.Type, data)
		queries = append(queries, r.Name+" "+r.Type+"\n")
	}
	random := rand.New(rand.NewPCG(1, 2)) // the same order every time
	random.Shuffle(len(queries), func(i, j int) { queries[i], queries[j] = queries[j], queries[i] })
	var list bytes.Buffer
	for _, q := range queries {
		list.WriteString(q)
	}
	corefile := fmt.Sprintf("%s:%d {\n\tbind 127.0.0.1\n\tfile %s\n}\n", domain, portPeer, zonefile)
	for name, data := range map[string][]byte{zonefile: zone.Bytes(), f.queries: list.Bytes(), f.corefile: []byte(corefile)} {
		if err := os.WriteFile(name, data, 0o644); err != nil {
			return f, err
		}
	}
	return f, nil
}
