package fsm

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// testSigner is a signer whose fingerprint begins with its name's first letter.
func testSigner(name string) TrustSigner {
	return TrustSigner{Signer{Fingerprint: strings.Repeat(name[:1], 64), Name: name, PEM: "PEM " + name, NotBefore: 1, NotAfter: 1_900_000_000_000_000_000}}
}

// testPin pins a bundle of a version.
func testPin(version uint64) PinBase {
	return PinBase{Base: Base{
		Ref: "http://host/debian12", Kind: "bundle", Digest: testKey(int(version)), Version: version, Created: Time(version),
		Platform: "linux/amd64", Signer: strings.Repeat("a", 64), SignedBy: "alice", Bytes: 7,
	}}
}

func drawBase(rt *rapid.T) Command {
	switch rapid.IntRange(0, 5).Draw(rt, "what") {
	case 0:
		return testSigner(rapid.SampledFrom([]string{"alice", "bob", "Zoe"}).Draw(rt, "signer"))
	case 1:
		return UntrustSigner{strings.Repeat(rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "signer"), 64)}
	case 2:
		c := testPin(rapid.Uint64Range(0, 3).Draw(rt, "version"))
		c.Base.Ref = rapid.SampledFrom([]string{"http://h/a", "oci:b", "bad\n", ""}).Draw(rt, "ref")
		c.Downgrade = rapid.Bool().Draw(rt, "downgrade")
		return c
	case 3:
		return UnpinBase{rapid.SampledFrom([]string{"http://h/a", "oci:b"}).Draw(rt, "ref")}
	case 4:
		return ReportFetch{Key: testKey(rapid.IntRange(0, 3).Draw(rt, "key")), Host: drawHost.Draw(rt, "host"), State: rapid.SampledFrom([]FetchState{FetchBegun, FetchDone, "?"}).Draw(rt, "state"), Bytes: 7}
	}
	return RefuseBase{"oci:b", drawHost.Draw(rt, "host"), "bomb", "too much"}
}

// pins has every kind that came with bases from elsewhere.
func (l *log) pins() {
	l.tb.Helper()
	l.must(testSigner("alice"))
	l.must(testSigner("bob"))
	l.must(UntrustSigner{testSigner("bob").Signer.Fingerprint})
	l.must(testPin(3))
	l.refused(testPin(2), CodeConflict)
	l.must(ReportBuild{Key: testKey(11), Host: "h1", Bytes: 5, Base: new(testPin(3).Base)})
	other := testPin(1)
	other.Base.Ref = "oci:app"
	l.must(other)
	l.must(UnpinBase{"oci:app"})
	l.must(RefuseBase{"http://host/debian12", "h1", "wrong_hash", "it was changed"})
	l.must(ReportFetch{Key: testKey(11), Host: "h1", State: FetchBegun})
	l.must(ReportFetch{Key: testKey(11), Host: "h1", State: FetchDone, From: []string{"h2"}, Bytes: 5, Took: 1})
}

func TestABuildRemembersWhatItStandsOn(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.must(host("h1"))
	l.must(ReportBuild{Key: testKey(1), Host: "h1", Bytes: 5})
	l.must(ReportBuild{Key: testKey(1), Host: "h1", Bytes: 5, Base: new(testPin(3).Base)})
	if events := l.must(ReportBuild{Key: testKey(1), Host: "h1", Bytes: 5, Base: new(testPin(4).Base)}); len(events) > 0 {
		t.Errorf("a key has one content, yet another base was recorded: %v", events)
	}
	b, _ := l.s.Builds.Get(testKey(1))
	if b.Base == nil || b.Base.Version != 3 {
		t.Errorf("got %+v", b.Base)
	}
}
