package fsm

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/spec"
)

var recordLog = flag.Bool("record-log", false, "write testdata/log/v1 anew: only before v1 is released, later versions get their own")

// TestRecordLog applies every kind of command once, and keeps the log if it
// was asked to.
func TestRecordLog(t *testing.T) {
	l := newLog(t)
	l.lifetime()
	checkInvariants(t, l.s)
	if !*recordLog {
		return
	}
	var b bytes.Buffer
	for _, item := range l.items {
		b.Write(item.Raw)
		b.WriteByte('\n')
	}
	dir := filepath.Join("testdata", "log", "v1")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"log.jsonl": b.Bytes(), "state.txt": []byte(dumpOf(l.s))} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRecordSecondLog is the same for the kinds that came with Level 2.
func TestRecordSecondLog(t *testing.T) {
	l := newLog(t)
	l.secondLife()
	checkInvariants(t, l.s)
	if !*recordSecond {
		return
	}
	var b bytes.Buffer
	for _, item := range l.items {
		b.Write(item.Raw)
		b.WriteByte('\n')
	}
	dir := filepath.Join("testdata", "log", "v2")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"log.jsonl": b.Bytes(), "state.txt": []byte(dumpOf(l.s))} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

var recordSecond = flag.Bool("record-log2", false, "write testdata/log/v2 anew: only before v2 is released")

// secondLife has a rotation, an import, revocations and a restore in it.
func (l *log) secondLife() {
	l.tb.Helper()
	h := host("h1")
	h.Host.Level = Level
	l.must(h)
	l.must(ApplyWish{Wish: testWish("demo", "10.66.0.0/24", 2)})
	l.run("demo-web-1", "h1")
	l.must(RequestCert{"demo-web-1", "h1", 1, []byte("csr")})
	l.must(SetCert{"demo-web-1", 1, "pem", "01", l.now.Add(time.Hour), nil, ""})
	var b bytes.Buffer
	if err := Write(&b, l.s); err != nil {
		l.tb.Fatal(err)
	}
	l.must(ChainCA{ID: testCA(1), Over: l.s.Cluster.CA, Chain: "chain"})
	l.must(AddCA{ID: testCA(2), PEM: "second", Cross: "cross", Over: testCA(1), Host: "h1", Retire: int64(time.Minute)})
	l.must(ActivateCA{testCA(2)})
	l.must(RequestCert{"demo-web-1", "h1", 1, []byte("csr2")})
	l.must(SetCert{"demo-web-1", 1, "pem2", "02", l.now.Add(time.Hour), nil, testCA(2)})
	l.now += 100 * second
	l.must(RetireCA{testCA(1)})
	l.must(AddCA{ID: testCA(3), PEM: "third", Cross: "cross", Over: testCA(2), Host: "h1", Hold: true})
	other := host("h2")
	other.Host.Role = RoleServer
	l.must(other)
	l.must(HoldCA{testCA(3), "h2"})
	l.must(RevokeCert{Jail: "demo-web-1", Why: "story"})
	l.must(RevokeCert{Subject: "spiffe://c/user/bob"})
	l.must(ReportAbuse{"h2", "report_run", "story"})
	l.must(DestroyWish{Name: "demo"})
	sum := sha256.Sum256(b.Bytes())
	id := hex.EncodeToString(sum[:])
	half := b.Len() / 2
	l.must(RestorePart{id, 0, bytes.Clone(b.Next(half))})
	l.must(RestorePart{id, 1, b.Bytes()})
	l.must(RestoreState{ID: id, Parts: 2})
}

// lifetime has every kind of command and every kind of event in it.
func (l *log) lifetime() {
	l.tb.Helper()
	l.must(host("h1"))
	l.must(host("h2"))
	w := testWish("demo", "10.66.0.0/24", 4)
	w.Domain = "demo.internal"
	l.must(ApplyWish{Wish: w})
	l.must(TagImage{spec.Image{Name: "tool", Key: testKey(8), Base: "host:/"}})
	l.must(TagImage{spec.Image{Name: "old", Key: testKey(9), Base: "host:/"}})
	l.must(UntagImage{"old"})
	other := testWish("other", "10.67.0.0/24", 2)
	other.Jails[0].Image, other.Jails[1].Image = "tool", "tool"
	l.must(ApplyWish{Wish: other})
	for _, j := range []JailName{"demo-web-1", "demo-web-2", "other-web-1"} {
		l.run(j, "h1")
	}
	l.run("demo-web-3", "h2")
	l.must(RequestCert{"demo-web-1", "h1", 1, []byte("csr")})
	l.must(SetCert{"demo-web-1", 1, "pem", "01", l.now, nil, ""})
	l.must(ReportBuild{Key: testKey(1), Host: "h1", Bytes: 100})
	l.must(StopRun{"demo-web-1", 1, "story", ""})
	l.must(ReportRun{Jail: "demo-web-1", Host: "h1", Seq: 1, Phase: Stopped, Exit: &Exit{Known: true}})
	l.run("demo-web-1", "h1")
	l.must(RestartJail{"demo-web-2"})
	l.must(WantJail{"demo-web-4", WantStopped})
	l.refused(PlaceJail{Jail: "demo-web-4", Host: "h1", Seq: 1}, CodeConflict)
	l.must(MarkHost{"h2", HostLost, "story", 0, false, nil})
	w.Networks[0].NAT = true
	w.Jails = w.Jails[1:3]
	l.must(ApplyWish{Wish: w})
	l.must(TagImage{spec.Image{Name: "tool", Key: testKey(10), Base: "host:/"}})
	l.must(DestroyWish{Name: "other"})
	l.must(ReportRun{Jail: "other-web-1", Host: "h1", Seq: 1, Phase: Failed, Exit: &Exit{Known: true, Code: 2}})
	l.now += 100 * second
	l.must(ApplyWish{Wish: testWish("third", "10.68.0.0/24", 1)})
	l.members()
	l.pins()
}

// members has every kind that came with the second host.
func (l *log) members() {
	l.tb.Helper()
	hash, key := bytes.Repeat([]byte{1}, 32), strings.Repeat("ab", 32)
	l.must(CreateToken{"abcdefgh", hash, RoleServer, 1, l.now.Add(time.Hour)})
	l.must(AdmitHost{"abcdefgh", "h3", "name-h3", RoleServer, "10.0.0.3:7370", key})
	l.must(ReportJoin{"abcdefgh", "10.0.0.9:1234", "it is used up"})
	l.must(RevokeToken{"abcdefgh"})
	l.must(host("h3"))
	l.must(LabelHost{Host: "h3", Set: map[string]string{"ssd": ""}})
	l.must(ReportOverlay{"h3", testOverlayKey(1), "", "10.0.0.3:51820", "userspace"})
	l.must(RekeyHost{"h3"})
	l.must(ReportOverlay{"h3", testOverlayKey(1), testOverlayKey(2), "10.0.0.3:51820", "userspace"})
	l.must(ReportOverlay{"h3", testOverlayKey(2), "", "10.0.0.3:51820", "userspace"})
	l.must(RotateGossip{hash})
	l.must(RaiseGeneration{1, "story"})
	l.must(RemoveHost{Host: "h3", Force: true, Why: "story"})
	l.now = l.now.Add(48 * time.Hour)
	l.must(CreateToken{"bcdefghi", hash, RoleHost, 1, l.now.Add(time.Hour)})
}
