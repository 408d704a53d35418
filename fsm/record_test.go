package fsm

import (
	"bytes"
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
	l.must(MarkHost{"h2", HostLost, "story", 0, false})
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
