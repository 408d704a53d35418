package dnsd

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	"pgregory.net/rapid"
)

const testSecret = "c2l4dGVlbiBieXRlcyBhbmQgbW9yZQ=="

// transferHandler lets 127.0.0.1 have zones if it signs with peer.key.
func transferHandler(tb testing.TB) (*Handler, Key) {
	tb.Helper()
	key, err := ParseKey("hmac-sha256:Peer.key:" + testSecret)
	if err != nil {
		tb.Fatal(err)
	}
	h := localHandler(tb)
	h.AllowTransfers([]Peer{{Net: netip.MustParsePrefix("127.0.0.1/32"), Key: key.Name}}, []Key{key})
	return h, key
}

// fetch transfers zone, from serial if that is not 0.
func fetch(tb testing.TB, server netip.AddrPort, zone string, serial uint32, key *Key) ([]dns.RR, error) {
	tb.Helper()
	q := new(dns.Msg).SetAxfr(zone)
	if serial != 0 {
		q = new(dns.Msg).SetIxfr(zone, serial, "ns.", "hostmaster.")
	}
	t := dns.Transfer{DialTimeout: 10 * time.Second, ReadTimeout: 10 * time.Second}
	if key != nil {
		t.TsigSecret = map[string]string{key.Name: key.Secret}
		q.SetTsig(key.Name, key.Algorithm, 300, time.Now().Unix())
	}
	envelopes, err := t.In(q, server.String())
	if err != nil {
		return nil, err
	}
	var rrs []dns.RR
	for e := range envelopes {
		if e.Error != nil {
			err = e.Error
		}
		rrs = append(rrs, e.RR...)
	}
	return rrs, err
}

func texts(rrs []dns.RR) (lines []string) {
	for _, rr := range rrs {
		lines = append(lines, strings.Join(strings.Fields(rr.String()), " "))
	}
	return lines
}

func TestZoneTransferIsTheWholeZone(t *testing.T) {
	t.Parallel()
	h, key := transferHandler(t)
	server := startServer(t, h, nil)
	for _, zone := range []string{"rex.internal.", "0.66.10.in-addr.arpa.", "docs.example.org."} {
		rrs, err := fetch(t, server, zone, 0, &key)
		if err != nil {
			t.Fatalf("%s: %v", zone, err)
		}
		var want []string
		for _, rr := range oracleRecords(testTable()) {
			if dns.IsSubDomain(zone, rr.Header().Name) && rr.Header().Rrtype != dns.TypeSOA {
				want = append(want, texts([]dns.RR{rr})...)
			}
		}
		got := texts(rrs)
		soa := texts([]dns.RR{oracleSOAOf(testTable(), zone)})[0]
		if len(got) < 2 || got[0] != soa || got[len(got)-1] != soa {
			t.Fatalf("%s: not between two SOAs: %v", zone, got)
		}
		got = got[1 : len(got)-1]
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(slices.Compact(want), got); diff != "" {
			t.Errorf("%s: -want +got\n%s", zone, diff)
		}
	}
}

func TestStrangersGetNoZone(t *testing.T) {
	t.Parallel()
	h, key := transferHandler(t)
	server := startServer(t, h, nil)
	wrong := key
	wrong.Secret = "YW5vdGhlciBzZWNyZXQgYWx0b2dldGhlcg=="
	unknown := key
	unknown.Name = "other.key."
	for what, try := range map[string]func() ([]dns.RR, error){
		"no signature":    func() ([]dns.RR, error) { return fetch(t, server, "rex.internal.", 0, nil) },
		"another secret":  func() ([]dns.RR, error) { return fetch(t, server, "rex.internal.", 0, &wrong) },
		"an unknown key":  func() ([]dns.RR, error) { return fetch(t, server, "rex.internal.", 0, &unknown) },
		"no zone's top":   func() ([]dns.RR, error) { return fetch(t, server, "prod.rex.internal.", 0, &key) },
		"somebody else's": func() ([]dns.RR, error) { return fetch(t, server, "example.com.", 0, &key) },
		"IXFR unsigned":   func() ([]dns.RR, error) { return fetch(t, server, "rex.internal.", 1, nil) },
	} {
		if rrs, err := try(); err == nil || len(rrs) > 0 {
			t.Errorf("%s: %d records, %v", what, len(rrs), err)
		}
	}
	other, _ := transferHandler(t)
	other.peers[0].Net = netip.MustParsePrefix("192.0.2.0/24")
	if rrs, err := fetch(t, startServer(t, other, nil), "rex.internal.", 0, &key); err == nil || len(rrs) > 0 {
		t.Errorf("with the key, but from elsewhere: %d records, %v", len(rrs), err)
	}
}

func TestSignedQueriesGetSignedAnswers(t *testing.T) {
	t.Parallel()
	h, key := transferHandler(t)
	server := startServer(t, h, nil)
	for _, c := range []struct {
		name    string
		typ     uint16
		network string
		rcode   int
	}{
		{"rex.internal.", dns.TypeSOA, "udp", 0}, {"rex.internal.", dns.TypeSOA, "tcp", 0}, {"many.prod.rex.internal.", dns.TypeA, "udp", 0},
		{"nope.rex.internal.", dns.TypeA, "udp", dns.RcodeNameError}, {"rex.internal.", dns.TypeANY, "udp", 0},
	} {
		client := dns.Client{Net: c.network, Timeout: 10 * time.Second, TsigSecret: map[string]string{key.Name: key.Secret}}
		q := query(c.name, c.typ).SetTsig(key.Name, key.Algorithm, 300, time.Now().Unix())
		reply, _, err := client.Exchange(q, server.String()) // checks the signature
		if err != nil || reply.Rcode != c.rcode || reply.IsTsig() == nil {
			t.Errorf("%+v: %v %v", c, reply, err)
		}
	}
	late := query("rex.internal.", dns.TypeSOA).SetTsig(key.Name, key.Algorithm, 300, time.Now().Add(-time.Hour).Unix())
	packed, _, err := dns.TsigGenerate(late, key.Secret, "", false)
	if err != nil {
		t.Fatal(err)
	}
	out, _ := h.Answer(nil, packed, loopback, true)
	if reply := unpack(t, out); reply.Rcode != dns.RcodeNotAuth || reply.IsTsig() == nil || reply.IsTsig().Error != dns.RcodeBadTime || reply.IsTsig().MAC == "" {
		t.Errorf("an old signature: %v", reply)
	}
}

// patch applies an incremental transfer to a zone, as a secondary does.
func patch(zone map[string]bool, rrs []dns.RR) error {
	lines := texts(rrs)
	adding := true
	for i, rr := range rrs[1 : len(rrs)-1] {
		line := lines[i+1]
		if rr.Header().Rrtype == dns.TypeSOA {
			adding = !adding
			continue
		}
		if zone[line] == adding {
			return fmt.Errorf("adding %v: %s", adding, line)
		}
		if adding {
			zone[line] = true
		} else {
			delete(zone, line)
		}
	}
	if !adding {
		return fmt.Errorf("it ends within a deletion")
	}
	return nil
}

func plainZone(z *Zone, top string) map[string]bool {
	n, _ := z.find([]byte(top))
	out := map[string]bool{}
	for _, rr := range z.everything(n) {
		if rr.Header().Rrtype != dns.TypeSOA {
			out[texts([]dns.RR{rr})[0]] = true
		}
	}
	return out
}

func TestIncrementalTransfersLeadToTheSameZone(t *testing.T) {
	t.Parallel()
	const top = "\x03rex\x08internal\x00"
	rapid.Check(t, func(t *rapid.T) {
		table := Table{Domain: "rex.internal", Serial: 1<<32 - 3, NS: []netip.Addr{addr("10.66.0.1")}}
		for i := range 60 {
			table.Records = append(table.Records, Record{Name: fmt.Sprintf("fill-%d.rex.internal", i), Type: "A", Addr: addr("10.0.0.1")})
		}
		zones := []*Zone{NewZone(&table)}
		for range rapid.IntRange(1, 5).Draw(t, "steps") {
			last := zones[len(zones)-1]
			serial := last.serial + rapid.Uint32Range(1, 3).Draw(t, "serial") // around the end of the numbers
			if rapid.Bool().Draw(t, "nothing") {
				zones = append(zones, last.WithSerial(serial))
				continue
			}
			var sets []Set
			for _, r := range rapid.SliceOfN(rapid.Custom(drawRecord), 1, 4).Draw(t, "sets") {
				if slices.ContainsFunc(sets, func(s Set) bool { return s.Name == r.Name && s.Type == r.Type }) {
					continue
				}
				s := Set{Name: r.Name, Type: r.Type}
				if rapid.Bool().Draw(t, "present") {
					s.Records = []Record{r}
				}
				sets = append(sets, s)
			}
			zones = append(zones, last.With(serial, sets))
		}
		now := zones[len(zones)-1]
		n, _ := now.find([]byte(top))
		for _, old := range zones {
			rrs := now.changesSince(n, old.serial)
			if len(rrs) == 0 {
				t.Fatalf("nothing is known since %d", old.serial)
			}
			if old.serial == now.serial {
				continue
			}
			zone := plainZone(old, top)
			if err := patch(zone, rrs); err != nil {
				t.Fatalf("from %d: %v\n%s", old.serial, err, strings.Join(texts(rrs), "\n"))
			}
			if diff := cmp.Diff(plainZone(now, top), zone); diff != "" {
				t.Fatalf("from %d: -want +got\n%s", old.serial, diff)
			}
		}
		if rrs := now.changesSince(n, table.Serial-1); rrs != nil {
			t.Errorf("changes are known from before there were any")
		}
		if rrs := now.changesSince(n, now.serial+1); rrs != nil {
			t.Errorf("changes are known from the future")
		}
	})
}

func TestIXFROverUDPIsTheSOA(t *testing.T) {
	t.Parallel()
	h, key := transferHandler(t)
	q := new(dns.Msg).SetIxfr("rex.internal.", 1, "ns.", "hostmaster.").SetTsig(key.Name, key.Algorithm, 300, time.Now().Unix())
	packed, _, err := dns.TsigGenerate(q, key.Secret, "", false)
	if err != nil {
		t.Fatal(err)
	}
	out, _ := h.Answer(nil, packed, loopback, true)
	reply := unpack(t, out)
	if len(reply.Answer) != 1 || reply.Answer[0].Header().Rrtype != dns.TypeSOA || reply.Question[0].Qtype != dns.TypeIXFR {
		t.Errorf("reply %v", reply)
	}
}
