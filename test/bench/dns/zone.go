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
	"runtime"
	"strings"
	"sync"
	"time"

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

// changeEach is how often a record of ours changes while it is measured.
const changeEach = 20 * time.Millisecond

// serveOurs answers from table on address until ctx ends.
func serveOurs(ctx context.Context, address string) error {
	addr, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	t := table()
	handler := dnsd.NewHandler(nil, nil)
	handler.SetZone(dnsd.NewZone(t))
	server, err := dnsd.Listen(ctx, []netip.AddrPort{addr}, handler, nil, slog.Default())
	if err != nil {
		return err
	}
	var changes sync.WaitGroup
	defer changes.Wait()
	changes.Go(func() { change(ctx, handler, t) })
	return server.Run(ctx)
}

// change gives one host after the other another address until ctx ends.
func change(ctx context.Context, h *dnsd.Handler, t *dnsd.Table) {
	tick := time.NewTicker(changeEach)
	defer tick.Stop()
	for i := uint32(1); ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		r := t.Records[2*(i%(records/2))]
		r.Addr = netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
		h.SetZone(h.Zone().With(1+i, []dnsd.Set{{Name: r.Name, Type: r.Type, Records: []dnsd.Record{r}}}))
	}
}

// files are what the peers and dnsperf read.
type files struct{ corefile, unbound, nsd, queries string }

func writeFiles(dir string) (f files, err error) {
	f = files{filepath.Join(dir, "Corefile"), filepath.Join(dir, "unbound.conf"), filepath.Join(dir, "nsd.conf"), filepath.Join(dir, "queries")}
	zonefile := filepath.Join(dir, "zone")
	var zone, local bytes.Buffer
	fmt.Fprintf(&zone, "%s. 5 IN SOA ns.%s. hostmaster.%s. 1 60 30 86400 5\n%s. 60 IN NS ns.%s.\nns.%s. 60 IN A 10.0.255.1\n",
		domain, domain, domain, domain, domain, domain)
	var queries []string
	for _, r := range table().Records {
		data := r.Addr.String()
		if r.Type == "SRV" {
			data = fmt.Sprintf("0 1 %d %s.", r.Port, r.Target)
		}
		line := fmt.Sprintf("%s. %d IN %s %s", r.Name, r.TTL, r.Type, data)
		zone.WriteString(line + "\n")
		fmt.Fprintf(&local, "\tlocal-data: %q\n", line)
		queries = append(queries, r.Name+" "+r.Type+"\n")
	}
	random := rand.New(rand.NewPCG(1, 2)) // the same order every time
	random.Shuffle(len(queries), func(i, j int) { queries[i], queries[j] = queries[j], queries[i] })
	for name, text := range map[string]string{
		zonefile: zone.String(), f.queries: strings.Join(queries, ""),
		f.corefile: fmt.Sprintf("%s:%d {\n\tbind 127.0.0.1\n\tfile %s\n}\n", domain, portCoreDNS, zonefile),
		f.unbound:  fmt.Sprintf(unboundConf, runtime.NumCPU(), portUnbound, domain) + local.String(),
		f.nsd:      fmt.Sprintf(nsdConf, runtime.NumCPU(), portNSD, dir, dir, dir, dir, domain, zonefile),
	} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			return f, err
		}
	}
	return f, nil
}

// The peers have a worker for each core and sockets of their own for each, as
// we do.
const (
	unboundConf = `server:
	num-threads: %d
	so-reuseport: yes
	interface: 127.0.0.1
	port: %d
	do-ip6: no
	username: ""
	chroot: ""
	pidfile: ""
	use-syslog: no
	logfile: ""
	verbosity: 0
	access-control: 127.0.0.0/8 allow
	module-config: "iterator"
	local-zone: %s static
`
	nsdConf = `server:
	server-count: %d
	reuseport: yes
	ip-address: 127.0.0.1@%d
	username: ""
	pidfile: %s/nsd.pid
	database: ""
	xfrdfile: %s/xfrd.state
	xfrdir: %s
	zonelistfile: %s/zone.list
	rrl-ratelimit: 0
	answer-cookie: yes
	cookie-secret: 000102030405060708090a0b0c0d0e0f
remote-control:
	control-enable: no
zone:
	name: %s
	zonefile: %s
`
)
