package fsm

import (
	"bytes"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rexcarcer/rexcarcer/spec"
)

// TestLaws drives random commands through Apply, right and wrong ones, and
// asserts after each what must be true of every State and every step; at the
// end, that the way of applying the log does not show in the result.
func TestLaws(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := newLog(rt)
		first := l.s
		for range rapid.IntRange(5, 50).Draw(rt, "steps") {
			l.now += Time(rapid.SampledFrom([]int64{0, 0, 1, 30, 59, 61, 200}).Draw(rt, "pass")) * second
			before := l.s
			c := drawCommand(rt, l)
			events, err := l.apply(c)
			checkInvariants(rt, l.s)
			checkStep(rt, before, l.s, events, err)
		}
		checkReplay(rt, first, l)
	})
}

// checkStep compares the State before and after one entry.
func checkStep(tb fataler, before, after *State, events []Happened, err error) {
	tb.Helper()
	if r, ok := err.(*Refusal); ok && r.Code == CodeInternal {
		tb.Fatalf("index %d: %v", after.Index, r)
	}
	if after.Index != before.Index+1 || after.Now < before.Now || after.Chain == before.Chain {
		tb.Fatalf("index %d to %d, now %d to %d", before.Index, after.Index, before.Now, after.Now)
	}
	if (err != nil || len(events) == 0) && !sameObjects(before, after) {
		tb.Fatalf("index %d: no event (%v), but the State changed", after.Index, err)
	}
	if err != nil && len(events) != 0 {
		tb.Fatalf("index %d: refused (%v) with %d events", after.Index, err, len(events))
	}
	if !before.Records.Same(after.Records) && after.RecordsIndex != after.Index {
		tb.Fatalf("index %d: records changed, RecordsIndex is %d", after.Index, after.RecordsIndex)
	}
	for name, was := range before.Runs.All {
		now, ok := after.Runs.Get(name)
		if !ok {
			if !was.Phase.Over() && !ended(events, was.Jail) {
				tb.Fatalf("index %d: the live run %d of %s vanished", after.Index, was.Seq, name)
			}
			continue
		}
		switch {
		case now.Seq == was.Seq && (now.Phase < was.Phase || now.Host != was.Host):
			tb.Fatalf("index %d: run %d of %s went from %s on %s to %s on %s", after.Index, was.Seq, name, was.Phase, was.Host, now.Phase, now.Host)
		case now.Seq != was.Seq && (!was.Phase.Over() || now.Seq != was.Seq+1):
			tb.Fatalf("index %d: run %d of %s (%s) was followed by run %d", after.Index, was.Seq, name, was.Phase, now.Seq)
		}
	}
	checkGuestStep(tb, before, after)
	for key, was := range before.Leases.All {
		now, ok := after.Leases.Get(key)
		if ok && was.Jail == "" && now.Jail != "" && now.Jail != was.Last && !was.rested(after.Now) {
			tb.Fatalf("index %d: %s was released by %s at %d and given to %s at %d", after.Index, was.Addr, was.Last, was.FreedAt, now.Jail, after.Now)
		}
		if ok && was.Jail != "" && now.Jail != "" && was.Jail != now.Jail {
			tb.Fatalf("index %d: %s went from %s to %s", after.Index, was.Addr, was.Jail, now.Jail)
		}
	}
}

func ended(events []Happened, j JailName) bool {
	for _, h := range events {
		if r, ok := h.Event.(RunReported); ok && r.Run.Jail == j && r.Run.Phase.Over() {
			return true
		}
	}
	return false
}

func sameObjects(a, b *State) bool {
	return reflect.DeepEqual(a.Cluster, b.Cluster) && a.Revoked.Same(b.Revoked) && a.parts.Same(b.parts) && a.PlanIndex == b.PlanIndex && a.RecordsIndex == b.RecordsIndex && a.lostSeq == b.lostSeq &&
		a.Wishes.Same(b.Wishes) && a.Networks.Same(b.Networks) && a.Images.Same(b.Images) && a.Builds.Same(b.Builds) &&
		a.Jails.Same(b.Jails) && a.Groups.Same(b.Groups) && a.Runs.Same(b.Runs) && a.ByHost.Same(b.ByHost) &&
		a.Leases.Same(b.Leases) && a.Records.Same(b.Records) && a.Certs.Same(b.Certs) && a.Hosts.Same(b.Hosts) &&
		a.Moves.Same(b.Moves) && a.Volumes.Same(b.Volumes) && a.Load.Same(b.Load) && a.pools.Same(b.pools) && a.free.Same(b.free) && a.resting.Same(b.resting) && a.lasts.Same(b.lasts) && a.Guests.Same(b.Guests)
}

// checkReplay applies the same log again in other ways: in batches, and over
// a snapshot. The first State is still what it was.
func checkReplay(rt *rapid.T, s *State, l *log) {
	want := l.s.Hash()
	batched, restored := s, s
	items := l.items[1:] // s has genesis already
	for rest := items; len(rest) > 0; {
		n := rapid.IntRange(1, len(rest)).Draw(rt, "batch")
		next, events, errs := ApplyAll(batched, rest[:n])
		if len(events) != n || len(errs) != n {
			rt.Fatalf("ApplyAll of %d gave %d and %d", n, len(events), len(errs))
		}
		batched, rest = next, rest[n:]
	}
	if batched.Hash() != want {
		rt.Fatalf("in batches:\n%s\none by one:\n%s", dumpOf(batched), dumpOf(l.s))
	}
	at := rapid.IntRange(0, len(items)).Draw(rt, "snapshot")
	for i, item := range items {
		if i == at {
			restored = roundTrip(rt, restored)
		}
		restored, _, _ = Apply(restored, item.Index, item.Entry, item.Raw)
	}
	if restored.Hash() != want {
		rt.Fatalf("over a snapshot at %d:\n%s\nwithout:\n%s", at, dumpOf(restored), dumpOf(l.s))
	}
}

func roundTrip(tb fataler, s *State) *State {
	tb.Helper()
	var b bytes.Buffer
	if err := Write(&b, s); err != nil {
		tb.Fatal(err)
	}
	got, err := Read(&b)
	if err != nil {
		tb.Fatal(err)
	}
	if got.Hash() != s.Hash() {
		tb.Fatalf("restored:\n%s\nwritten:\n%s", dumpOf(got), dumpOf(s))
	}
	checkInvariants(tb, got)
	return got
}

func dumpOf(s *State) string {
	var b bytes.Buffer
	if err := s.Dump(&b); err != nil {
		return err.Error()
	}
	return b.String()
}

var (
	drawHost  = rapid.SampledFrom([]HostID{"h1", "h2", "h3"})
	drawJail  = rapid.SampledFrom([]JailName{"a-web-1", "a-web-2", "a-web-3", "a-db", "b-web-1", "b-web-2", "b-db", "nobody"})
	drawPhase = rapid.IntRange(0, int(Lost)+1)
)

func drawCommand(rt *rapid.T, l *log) Command {
	switch rapid.SampledFrom([]string{"wish", "wish", "wish", "destroy", "want", "restart", "place", "place", "place", "place",
		"stop", "report", "report", "report", "report", "host", "host", "mark", "alarm", "csr", "cert", "tag", "untag", "build", "token", "admit", "member", "base", "move", "move", "step", "step", "step", "guest", "guest", "guest", "guest"}).Draw(rt, "kind") {
	case "wish":
		return ApplyWish{Wish: drawWish(rt), Base: rapid.SampledFrom([]uint64{0, 0, 0, l.s.PlanIndex, 1}).Draw(rt, "base")}
	case "destroy":
		return DestroyWish{Name: rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "wish")}
	case "want":
		return WantJail{drawJail.Draw(rt, "jail"), rapid.SampledFrom([]Want{WantRunning, WantStopped, WantGone, "odd"}).Draw(rt, "want")}
	case "restart":
		return RestartJail{drawJail.Draw(rt, "jail")}
	case "place":
		j := drawJail.Draw(rt, "jail")
		return PlaceJail{Jail: j, Host: drawHost.Draw(rt, "host"), Seq: l.s.NextSeq(j) + rapid.SampledFrom([]uint64{0, 0, 0, 0, 1}).Draw(rt, "off")}
	case "stop":
		j := drawJail.Draw(rt, "jail")
		return StopRun{j, l.s.NextSeq(j) - rapid.SampledFrom([]uint64{0, 1, 1, 1, 2}).Draw(rt, "off"), "why", rapid.SampledFrom([]JailName{"", "web-1"}).Draw(rt, "for")}
	case "report":
		return drawReport(rt, l)
	case "host":
		h := host(string(drawHost.Draw(rt, "host")))
		h.Host.Capacity = Resources{MilliCPU: 200, MemoryBytes: 1 << 30}
		h.Host.Version = rapid.SampledFrom([]string{"1", "2"}).Draw(rt, "version")
		return h
	case "mark":
		return MarkHost{drawHost.Draw(rt, "host"), rapid.SampledFrom([]HostState{HostAlive, HostAlive, HostDraining, HostLost, "odd"}).Draw(rt, "state"), "why", Time(rapid.Int64Range(0, 1).Draw(rt, "fence")), rapid.Bool().Draw(rt, "over"), rapid.SampledFrom([]*Drain{nil, nil, {Parallel: 2}, {Parallel: -1}, {Until: 7}}).Draw(rt, "drain")}
	case "alarm":
		return ReportAlarm{drawHost.Draw(rt, "host"), rapid.SampledFrom([]string{"", "clock", "deploy"}).Draw(rt, "name"), rapid.SampledFrom([]string{"", "late", "later"}).Draw(rt, "text")}
	case "csr":
		j := drawJail.Draw(rt, "jail")
		return RequestCert{j, drawHost.Draw(rt, "host"), l.s.NextSeq(j) - 1, []byte("csr")}
	case "cert":
		j := drawJail.Draw(rt, "jail")
		cmd := SetCert{j, l.s.NextSeq(j) - 1, "pem", fmt.Sprint(l.index), l.now, nil, ""}
		if rapid.Bool().Draw(rt, "direct") {
			cmd.Of = &CertOf{Host: drawHost.Draw(rt, "host")}
			if cert, ok := l.s.Certs.Get(string(j)); ok && rapid.Bool().Draw(rt, "names") {
				cmd.Of.Names, cmd.Of.Addrs, cmd.Of.URI = cert.Names, cert.Addrs, cert.URI
			}
		}
		return cmd
	case "base":
		return drawBase(rt)
	case "guest":
		return drawGuest(rt, l)
	case "move":
		return drawMove(rt, l)
	case "step":
		return drawStep(rt, l)
	case "tag":
		return TagImage{spec.Image{Name: rapid.SampledFrom([]string{"tool", "a-image"}).Draw(rt, "image"), Key: testKey(rapid.IntRange(1, 3).Draw(rt, "key"))}}
	case "token":
		id := drawToken.Draw(rt, "token")
		if rapid.IntRange(0, 3).Draw(rt, "revoke") == 0 {
			return RevokeToken{id}
		}
		return CreateToken{id, bytes.Repeat([]byte{1}, 32), RoleHost, rapid.IntRange(0, 2).Draw(rt, "uses"), l.now.Add(time.Minute)}
	case "admit":
		h := drawHost.Draw(rt, "host")
		return AdmitHost{drawToken.Draw(rt, "token"), h, "name-" + string(h), RoleHost, "10.0.0.1:7370", strings.Repeat("ab", 32)}
	case "member":
		return drawMember(rt, l)
	case "untag":
		return UntagImage{rapid.SampledFrom([]string{"tool", "a-image"}).Draw(rt, "image")}
	}
	return ReportBuild{Key: testKey(rapid.IntRange(1, 2).Draw(rt, "key")), Host: drawHost.Draw(rt, "host"), Bytes: 5, Gone: rapid.Bool().Draw(rt, "gone")}
}

var drawToken = rapid.SampledFrom([]string{"abcdefgh", "bcdefghi"})

func drawMember(rt *rapid.T, l *log) Command {
	switch h := drawHost.Draw(rt, "host"); rapid.IntRange(0, 7).Draw(rt, "member") {
	case 0:
		return LabelHost{h, map[string]string{"ssd": ""}, []string{"rack"}}
	case 1:
		return RemoveHost{Host: h, Force: rapid.Bool().Draw(rt, "force"), Fence: l.now}
	case 2:
		return RotateGossip{bytes.Repeat([]byte{byte(rapid.IntRange(1, 5).Draw(rt, "gossip"))}, 32)}
	case 3:
		return RaiseGeneration{Generation: uint64(rapid.IntRange(0, 3).Draw(rt, "generation"))}
	case 4:
		return RekeyHost{h}
	case 5:
		k := rapid.IntRange(1, 4).Draw(rt, "key")
		return ReportOverlay{h, testOverlayKey(k), testOverlayKey(k + rapid.IntRange(0, 2).Draw(rt, "next")), "10.0.0.1:51820", "kernel"}
	case 6:
		return drawTrust(rt, l)
	}
	return ReportJoin{drawToken.Draw(rt, "token"), "10.0.0.9:1", "why"}
}

func drawReport(rt *rapid.T, l *log) Command {
	j := drawJail.Draw(rt, "jail")
	c := ReportRun{
		Jail: j, Seq: l.s.NextSeq(j) - 1, Phase: Phase(drawPhase.Draw(rt, "phase")),
		Health: rapid.SampledFrom([]Health{"", HealthHealthy, HealthHealthy, HealthUnhealthy}).Draw(rt, "health"),
	}
	r, ok := l.s.Runs.Get(string(j))
	if ok && rapid.IntRange(0, 9).Draw(rt, "owner") > 0 {
		c.Host = r.Host
	} else {
		c.Host = drawHost.Draw(rt, "host")
	}
	if c.Phase >= Stopped && rapid.Bool().Draw(rt, "exit") {
		c.Exit = &Exit{Known: true, Code: 1}
	}
	return c
}

// drawWish is a small wish that may or may not fit what is there: two wishes
// share network "both" and image "tool", pools are tiny, addresses collide.
func drawWish(rt *rapid.T) spec.Wish {
	name := rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "wish")
	w := spec.Wish{Name: name, Images: []spec.Image{{Name: name + "-image", Key: testKey(rapid.IntRange(1, 2).Draw(rt, "key")), Base: "debian:bookworm"}}}
	subnet := map[string]string{"a": "10.0.0.0/29", "b": "10.0.1.0/29"}[name]
	nets := []string{name + "-net"}
	own := spec.Network{Name: name + "-net", Subnet: netip.MustParsePrefix(subnet)}
	if rapid.IntRange(0, 3).Draw(rt, "six") == 0 {
		own.Subnet6 = netip.MustParsePrefix(fmt.Sprintf("fd00:%x::/120", name))
	}
	if rapid.IntRange(0, 3).Draw(rt, "dhcp") == 0 {
		first := netip.MustParsePrefix(subnet).Addr().Next().Next().Next()
		own.DHCP = &spec.DHCP{Ranges: []spec.AddrRange{{First: first, Last: first.Next()}}}
	}
	w.Networks = append(w.Networks, own)
	if name == "a" && rapid.Bool().Draw(rt, "shared") {
		w.Networks = append(w.Networks, spec.Network{Name: "both", Subnet: netip.MustParsePrefix(rapid.SampledFrom([]string{"10.9.0.0/29", "10.0.1.0/28"}).Draw(rt, "subnet"))})
	}
	if rapid.Bool().Draw(rt, "both") {
		nets = append(nets, "both")
	}
	web := rapid.IntRange(0, 3).Draw(rt, "web")
	for i := range web {
		w.Jails = append(w.Jails, drawSpec(rt, fmt.Sprintf("%s-web-%d", name, i+1), name+"-web", i+1, web, nets))
	}
	if rapid.Bool().Draw(rt, "db") {
		w.Jails = append(w.Jails, drawSpec(rt, name+"-db", name+"-db", 0, 1, nets))
	}
	w.Normalize()
	return w
}

func drawSpec(rt *rapid.T, name, group string, index, of int, nets []string) spec.Jail {
	j := spec.Jail{
		Name: name, Group: group, Index: index, Replicas: of, Command: []string{"serve"},
		Image:    rapid.SampledFrom([]string{name[:1] + "-image", name[:1] + "-image", "tool", "a-image"}).Draw(rt, "image"),
		Services: []spec.Service{{Name: group[2:], Port: 80}},
		Volumes:  rapid.SampledFrom([][]spec.Volume{nil, nil, {{Name: "data", Path: "/data"}}}).Draw(rt, "volumes"),
		Limits:   spec.Limits{CPU: rapid.SampledFrom([]float64{0, 0.05, 0.1}).Draw(rt, "cpu")},
		Hostname: rapid.SampledFrom([]string{"", "", "", "www.example.org", "a-web-1.a-net.rex.internal"}).Draw(rt, "hostname"),
	}
	for i, n := range nets {
		nic := spec.NIC{Network: n}
		if i == 0 && rapid.IntRange(0, 4).Draw(rt, "fixed") == 0 {
			nic.Addr = netip.MustParseAddr(fmt.Sprintf("10.0.%d.%d", name[0]-'a', rapid.IntRange(2, 7).Draw(rt, "addr")))
		}
		j.NICs = append(j.NICs, nic)
	}
	return j
}
