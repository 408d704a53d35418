package fsm

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var drawCA = rapid.SampledFrom([]string{testCA(1), testCA(2), testCA(3)})

func drawTrust(rt *rapid.T, l *log) Command {
	h, id := drawHost.Draw(rt, "host"), drawCA.Draw(rt, "ca")
	switch rapid.IntRange(0, 5).Draw(rt, "trust") {
	case 0:
		return AddCA{ID: id, PEM: "pem", Cross: "cross", Over: drawCA.Draw(rt, "over"), Host: h, Hold: rapid.Bool().Draw(rt, "hold")}
	case 1:
		return HoldCA{id, h}
	case 2:
		return ActivateCA{id}
	case 3:
		return RetireCA{id}
	case 4:
		return RevokeCert{Jail: drawJail.Draw(rt, "jail")}
	}
	return ChainCA{ID: id, Over: l.s.Cluster.CA, Chain: "chain"}
}

// testCA is the id of the n-th CA of tests.
func testCA(n int) string { return fmt.Sprintf("%016x", n) }

func (l *log) fail(c Command, code Code, says string) {
	l.tb.Helper()
	_, err := l.apply(c)
	r, ok := err.(*Refusal)
	if !ok || r.Code != code || !strings.Contains(r.Error(), says) {
		l.tb.Fatalf("%s: got %v, want %s that says %q", c.Kind(), err, code, says)
	}
}

func (l *log) as(by string, c Command) ([]Happened, error) {
	l.index++
	l.now += second
	e := Entry{V: Version, ID: fmt.Sprint("as-", l.index), At: l.now, By: by, Cmd: c}
	raw, err := Encode(e)
	if err != nil {
		return nil, err
	}
	s, events, err := Apply(l.s, l.index, e, raw)
	l.s, l.items = s, append(l.items, Item{l.index, e, raw})
	return events, err
}

func server(l *log, id string) {
	l.tb.Helper()
	h := host(id)
	h.Host.Role = RoleServer
	l.must(h)
}

func TestACAIsRotatedAndTheOldOneIsTrustedUntilItsTime(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	server(l, "h1")
	server(l, "h2")
	first := l.s.Cluster.CA
	add := AddCA{ID: testCA(2), PEM: "NEW\n", Cross: "CROSS", Over: testCA(1), Host: "h1", Retire: int64(time.Hour)}
	l.must(add)
	if events, err := l.apply(add); err != nil || len(events) != 0 {
		t.Errorf("added twice: %v, %v", events, err)
	}
	if got, want := l.s.Cluster.CA, strings.TrimSpace(first)+"\nNEW\n"; got != want {
		t.Errorf("trusted are %q, want %q", got, want)
	}
	third := add
	third.ID = testCA(3)
	l.fail(third, CodeConflict, "on its way in")
	if _, err := l.as("host/h1", HoldCA{testCA(2), "h2"}); err == nil {
		t.Error("a host spoke for another")
	}
	if _, err := l.as("host/h2", HoldCA{testCA(2), "h2"}); err != nil {
		t.Error(err)
	}
	l.must(ActivateCA{testCA(2)})
	if ca := l.s.Cluster.ActiveCA(); ca.ID != testCA(2) || len(ca.Keys) != 2 {
		t.Errorf("%+v signs", ca)
	}
	if got, want := l.s.Cluster.CA, "NEW\n"+strings.TrimSpace(first)+"\n"; got != want {
		t.Errorf("trusted are %q, want %q", got, want)
	}
	third.Over = testCA(2)
	l.fail(third, CodeConflict, "still trusted")
	l.fail(RetireCA{testCA(2)}, CodeConflict, "signs now")
	if _, err := l.as("ca", RetireCA{testCA(1)}); err == nil {
		t.Error("it was retired before its time")
	}
	l.now = l.now.Add(2 * time.Hour)
	if _, err := l.as("ca", RetireCA{testCA(1)}); err != nil {
		t.Error(err)
	}
	if l.s.Cluster.CA != "NEW\n" {
		t.Errorf("trusted are %q", l.s.Cluster.CA)
	}
	l.must(third)
	l.must(RetireCA{testCA(3)}) // given up
	roundTrip(t, l.s)
}

func TestACAThatIsHeldSignsOnceItHasItsChain(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	server(l, "h1")
	l.must(AddCA{ID: testCA(2), PEM: "NEW", Cross: "CROSS", Over: testCA(1), Host: "h1", Hold: true})
	l.fail(ActivateCA{testCA(2)}, CodeConflict, "ca import")
	l.must(ChainCA{ID: testCA(2), Chain: "CHAIN"})
	l.must(ActivateCA{testCA(2)})
	if ca := l.s.Cluster.ActiveCA(); ca.Chain != "CHAIN" {
		t.Errorf("%+v", ca)
	}
	l.fail(ChainCA{ID: testCA(1), Chain: "CHAIN"}, CodeConflict, "signs nothing")
}

func TestTheFirstCACanBePutUnderAnother(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.fail(ChainCA{ID: testCA(1), Over: "other", Chain: "CHAIN"}, CodeConflict, "not the cluster's")
	l.must(ChainCA{ID: testCA(1), Over: l.s.Cluster.CA, Chain: "CHAIN"})
	if events, err := l.apply(ChainCA{ID: testCA(1), Chain: "CHAIN"}); err != nil || len(events) != 0 {
		t.Errorf("twice: %v, %v", events, err)
	}
	if ca := l.s.Cluster.ActiveCA(); ca == nil || ca.Chain != "CHAIN" || ca.ID != testCA(1) {
		t.Errorf("%+v", ca)
	}
}

func TestWhatIsRevokedIsRefusedAndForgottenInTheEnd(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.must(host("h1"))
	l.must(ApplyWish{Wish: testWish("demo", "10.66.0.0/24", 1)})
	l.run("demo-web-1", "h1")
	l.must(RequestCert{"demo-web-1", "h1", 1, []byte("csr")})
	l.must(SetCert{Jail: "demo-web-1", CSRSeq: 1, PEM: "pem", Serial: "abc1", NotAfter: l.now.Add(time.Hour)})
	l.must(RevokeCert{Jail: "demo-web-1", Why: "stolen"})
	if l.s.IsRevoked("abc1", "", 0) == nil || l.s.IsRevoked("abc2", "", 0) != nil {
		t.Error("the jail's certificate is not refused, or another is")
	}
	if c, _ := l.s.Certs.Get("demo-web-1"); c.PEM != "" || c.Serial != "" {
		t.Errorf("the certificate is still %+v", c)
	}
	l.must(RevokeCert{Serial: "ABC3", Until: l.now.Add(time.Minute)})
	l.must(RevokeCert{Subject: "spiffe://c/user/bob"})
	bob := l.now
	if l.s.IsRevoked("1", "spiffe://c/user/bob", bob-1) == nil || l.s.IsRevoked("1", "spiffe://c/user/bob", bob) != nil {
		t.Error("of bob's certificates those from before are refused, and no later ones")
	}
	l.fail(RevokeCert{}, CodeInvalid, "one of")
	l.fail(RevokeCert{Serial: "xyz"}, CodeInvalid, "not hex")
	if _, err := l.as("host/h1", RevokeCert{Serial: "1"}); err == nil {
		t.Error("a host revoked a certificate")
	}
	l.now = l.now.Add(2 * time.Hour)
	l.must(RevokeCert{Serial: "ff"})
	if l.s.IsRevoked("abc1", "", 0) != nil || l.s.IsRevoked("abc3", "", 0) != nil {
		t.Error("what has ended is still kept")
	}
	roundTrip(t, l.s)
}

// parts cuts the snapshot of s as a restore brings it.
func parts(t *testing.T, s *State, size int) (id string, all []RestorePart) {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, s); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b.Bytes())
	id = hex.EncodeToString(sum[:])
	for b.Len() > 0 {
		all = append(all, RestorePart{ID: id, N: len(all), Data: bytes.Clone(b.Next(size))})
	}
	return id, all
}

func restore(l *log, s *State, foreign bool) {
	l.tb.Helper()
	id, all := parts(l.tb.(*testing.T), s, 1000)
	for _, p := range all {
		l.must(p)
	}
	l.must(RestoreState{ID: id, Parts: len(all), Foreign: foreign})
	checkInvariants(l.tb, l.s)
	roundTrip(l.tb.(*testing.T), l.s)
	if l.s.ContentHash() != s.ContentHash() {
		l.tb.Fatalf("what was restored is not what was saved")
	}
}

func TestARestoreBringsBackWhatWasDeclared(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.must(host("h1"))
	l.must(host("h2"))
	l.must(ApplyWish{Wish: testWish("demo", "10.66.0.0/24", 3)})
	l.run("demo-web-1", "h1")
	l.run("demo-web-2", "h1")
	saved := l.s
	// Meanwhile a jail goes, a host goes, one comes, a jail has another run.
	w := testWish("demo", "10.66.0.0/24", 3)
	w.Jails = w.Jails[:2]
	l.must(ApplyWish{Wish: w})
	l.must(RemoveHost{Host: "h2", Force: true})
	l.must(host("h3"))
	restore(l, saved, false)
	if l.s.Jails.Len() != 3 || l.s.Hosts.Len() != 2 {
		t.Errorf("%d jails, %d hosts", l.s.Jails.Len(), l.s.Hosts.Len())
	}
	if _, out := l.s.Denied.Get("h2"); !out {
		t.Error("a host that was removed may come back")
	}
	if r := l.s.LiveRun("demo-web-1"); r == nil || r.Seq != 1 {
		t.Errorf("a jail that stayed what it is lost its run: %+v", r)
	}
	if next := l.s.NextSeq("demo-web-3"); next < restoreGap {
		t.Errorf("the next run of a jail that came back is %d", next)
	}
	l.run("demo-web-3", "h3")
}

func TestASnapshotOfAnotherClusterIsTakenOnPurposeOnly(t *testing.T) {
	t.Parallel()
	old := newLog(t)
	old.must(host("h1"))
	old.must(ApplyWish{Wish: testWish("demo", "10.66.0.0/24", 2)})
	old.run("demo-web-1", "h1")
	s := *old.s
	s.Cluster.ID = "another-one"
	l := newLog(t)
	l.must(host("h9"))
	id, all := parts(t, &s, 1<<20)
	l.must(all[0])
	before := l.s.ContentHash()
	l.fail(RestoreState{ID: id, Parts: 1}, CodeConflict, "--foreign")
	if l.s.ContentHash() != before {
		t.Error("a refused restore changed something")
	}
	l.must(RestoreState{ID: id, Drop: true})
	id, all = parts(t, &s, 1000)
	for _, p := range all {
		l.must(p)
	}
	l.must(RestoreState{ID: id, Parts: len(all), Foreign: true})
	checkInvariants(t, l.s)
	if c, _ := l.s.Certs.Get("demo-web-1"); !strings.HasPrefix(c.URI, "spiffe://"+l.s.Cluster.ID+"/") || l.s.Cluster.ID == "another-one" {
		t.Errorf("certificate %+v in cluster %s", c, l.s.Cluster.ID)
	}
	if l.s.LiveRun("demo-web-1") != nil {
		t.Error("a run of a host that is not here is live")
	}
}

func TestADamagedSnapshotChangesNothing(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.must(host("h1"))
	l.must(ApplyWish{Wish: testWish("demo", "10.66.0.0/24", 2)})
	id, all := parts(t, l.s, 500)
	before := l.s.ContentHash()
	l.fail(RestoreState{ID: id, Parts: len(all)}, CodeConflict, "begin again")
	l.fail(all[1], CodeConflict, "begin again")
	l.must(all[0])
	l.must(RestorePart{ID: id, N: 1, Data: []byte("other")})
	for _, p := range all[2:] {
		l.must(p)
	}
	l.fail(RestoreState{ID: id, Parts: len(all)}, CodeInvalid, "altered or damaged")
	l.must(all[1]) // the right one, again
	l.must(RestoreState{ID: id, Parts: len(all)})
	if l.s.ContentHash() != before {
		t.Error("the content is another")
	}
}

func TestWhoIsTooOldForAKind(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.must(host("h1"))
	if h := l.s.TooOld(PlaceJail{}.Kind()); h != nil {
		t.Errorf("host %s is too old for a kind that all know", h.ID)
	}
	if h := l.s.TooOld(AddCA{}.Kind()); h == nil || h.ID != "h1" {
		t.Errorf("a host that said nothing knows a new kind: %v", h)
	}
	now := host("h1")
	now.Host.Level = Level
	l.must(now)
	if h := l.s.TooOld(AddCA{}.Kind()); h != nil {
		t.Errorf("host %s is too old", h.ID)
	}
}
