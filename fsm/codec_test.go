package fsm

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/rexcarcer/rexcarcer/spec"
)

// everyCommand has one of each kind, all fields set.
func everyCommand() []Command {
	wish := testWish("demo", "10.66.0.0/24", 2)
	wish.Domain, wish.Source = "rex.internal", "cluster.hcl"
	h := host("h1")
	h.Host.Labels, h.Host.Features = map[string]string{"ssd": "", "rack": "r1"}, map[string]string{"userns": "yes"}
	return []Command{
		Genesis{"cluster-0001", "rex.internal", "PEM"},
		ApplyWish{wish, 12},
		DestroyWish{"demo", 13},
		WantJail{"web-1", WantStopped},
		RestartJail{"web-1"},
		PlaceJail{"web-1", "h1", 3, 2, "only host", "h2"},
		StopRun{"web-1", 3, "newer spec", "db"},
		ReportRun{"web-1", "h1", 3, Failed, HealthUnhealthy, &Exit{true, 137, "KILL", true}, "out of memory"},
		h,
		MarkHost{"h1", HostDraining, "no answer for 10s", 0, false, &Drain{1_767_323_105_000_000_000, 2}},
		RequestCert{"web-1", "h1", 3, []byte{0x30, 0x82}},
		SetCert{"web-1", 3, "-----BEGIN", "01", 1_800_000_000_000_000_000, nil, ""},
		TagImage{spec.Image{Name: "tool:1", Key: testKey(7), Base: "host:/"}},
		UntagImage{"tool:1"},
		ReportBuild{testKey(7), "h1", 1 << 20, true, new(testPin(3).Base)},
		CreateToken{"abcdefgh", bytes.Repeat([]byte{1}, 32), RoleServer, 3, 1_800_000_000_000_000_000},
		RevokeToken{"abcdefgh"},
		AdmitHost{"abcdefgh", "h9", "name-h9", RoleHost, "10.0.0.9:7370", strings.Repeat("ab", 32)},
		ReportJoin{"abcdefgh", "10.0.0.9:1234", "it has expired"},
		LabelHost{"h1", map[string]string{"ssd": ""}, []string{"rack"}},
		RemoveHost{"h1", true, 1_800_000_000_000_000_000, "it burned"},
		RotateGossip{bytes.Repeat([]byte{2}, 32)},
		RaiseGeneration{2, "two of three are lost"},
		AddCA{testCA(2), "PEM", "CROSS", testCA(1), "h1", true, 3600},
		HoldCA{testCA(2), "h1"},
		ActivateCA{testCA(2)},
		ChainCA{testCA(2), "PEM", "CHAIN"},
		RetireCA{testCA(1)},
		RevokeCert{"01", "spiffe://c/user/bob", "web-1", 1_800_000_000_000_000_000, "lost"},
		ReportAbuse{"h1", "report_run", "it is another host's"},
		RestorePart{strings.Repeat("a", 64), 1, []byte("x")},
		RestoreState{strings.Repeat("a", 64), 2, true, true},
		testSigner("alice"),
		UntrustSigner{strings.Repeat("a", 64)},
		PinBase{testPin(3).Base, true},
		UnpinBase{"http://host/debian12"},
		MoveJail{"web-1", "h2", "host h1 drains"},
		MoveVolume{"demo.web-1.data", "h2", "tidying up"},
		CancelMove{"web-1"},
		MoveStep{"web-1", 42, "h2", DidFail, 1 << 20, "no space left"},
		ReportVolume{"demo.web-1.data", "h1", true},
		ReportOverlay{"h1", testOverlayKey(1), testOverlayKey(2), "10.0.0.1:51820", "userspace"},
		RekeyHost{"h1"},
		RefuseBase{"http://host/debian12", "h1", "untrusted_signer", "nobody trusts it"},
		LeaseGuests{"lab", "h1", []GuestAsk{{netip.MustParseAddr("10.66.0.200"), "52:54:00:00:00:01", "52:54:00:00:00:01", "printer", 3600}}},
		EndGuests{"lab", "h1", []GuestEnd{{netip.MustParseAddr("10.66.0.200"), "52:54:00:00:00:01", GuestReleased}}},
		ReportAlarm{"h1", "clock", "the clock is 3s ahead of host h2"},
		ReportFetch{testKey(7), "h1", FetchFailed, []string{"one", "two"}, 1 << 20, 1500000000, "cut"},
	}
}

// TestEntriesKeepTheirForm: these bytes are in logs. They may gain fields,
// and never change otherwise.
func TestEntriesKeepTheirForm(t *testing.T) {
	t.Parallel()
	datadriven.RunTest(t, "testdata/codec/entries.txt", func(t *testing.T, d *datadriven.TestData) string {
		for _, c := range everyCommand() {
			if c.Kind() != d.Cmd {
				continue
			}
			e := Entry{Version, "id-1", 1_767_323_045_000_000_000, "user/root", c}
			raw, err := Encode(e)
			if err != nil {
				return err.Error()
			}
			back, err := Decode(raw)
			if err != nil {
				t.Fatalf("%s: %v", raw, err)
			}
			again, err := Encode(back)
			if err != nil || !bytes.Equal(raw, again) {
				t.Fatalf("encoded again: %s (%v), want %s", again, err, raw)
			}
			return string(raw)
		}
		return "no such command"
	})
	if len(everyCommand()) != len(decoders) {
		t.Errorf("%d commands are tried, %d can be decoded", len(everyCommand()), len(decoders))
	}
}

func TestDecodeTellsUnknownFromMalformed(t *testing.T) {
	t.Parallel()
	var unknown *UnknownKindError
	for _, raw := range []string{
		`{"v":1,"id":"","at":1,"by":"","kind":"fly_to_the_moon","cmd":{}}`,
		`{"v":2,"id":"","at":1,"by":"","kind":"destroy_wish","cmd":{}}`,
		` { "kind":"later", "v":1 } `,
	} {
		if _, err := Decode([]byte(raw)); !errors.As(err, &unknown) {
			t.Errorf("%s: got %v, want an UnknownKindError", raw, err)
		}
	}
	var malformed *MalformedError
	for _, raw := range []string{
		``, `{}`, `null`, `[]`, `{"v":1}`, `{"v":1,"id":"","at":1,"by":"","kind":"destroy_wish","cmd":}`,
		`{"v":1,"id":"","at":1,"by":"","kind":"destroy_wish","cmd":{"name":7}}`,
		`{"v":1,"id":"","at":1,"by":"","kind":"destroy_wish","cmd":{}}x`,
		`{"v":70000,"id":"","at":1,"by":"","kind":"destroy_wish","cmd":{}}`,
		strings.Repeat("[", 100_000), string(make([]byte, MaxEntry+1)),
	} {
		if _, err := Decode([]byte(raw)); !errors.As(err, &malformed) {
			t.Errorf("%.60s: got %v, want a MalformedError", raw, err)
		}
	}
}

func TestDecodeToleratesWhatLaterVersionsAdd(t *testing.T) {
	t.Parallel()
	raw := `{"v":1,"id":"é\"","at":-5,"by":"u","shard":4,"kind":"destroy_wish","cmd":{"name":"n","later":[1]}}`
	e, err := Decode([]byte(raw))
	if err != nil || e.ID != `é"` || e.At != -5 || e.Cmd != (DestroyWish{Name: "n"}) {
		t.Errorf("got %+v, %v", e, err)
	}
}

func TestEncodeRefusesWhatRaftWouldChokeOn(t *testing.T) {
	t.Parallel()
	_, err := Encode(Entry{V: Version, Cmd: SetCert{PEM: strings.Repeat("x", MaxEntry)}})
	if err == nil || !strings.Contains(err.Error(), "set_cert") {
		t.Errorf("got %v, want an error that names set_cert", err)
	}
}

func TestEventsAreJSONForPeople(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	events := l.must(host("h1"))
	b, err := json.Marshal(events[0])
	if err != nil {
		t.Fatal(err)
	}
	want := `{"index":2,"time":"2026-01-02T03:04:07.000000000Z","kind":"host_registered","object":"host name-h1",` +
		`"why":"server linux/amd64, runtime sim","by":"user/root","data":{"host":{"id":"h1","name":"name-h1",`
	if !strings.HasPrefix(string(b), want) {
		t.Errorf("got  %s\nwant %s...", b, want)
	}
}

// FuzzApply: no bytes make Decode or Apply panic, and no entry breaks an
// invariant.
func FuzzApply(f *testing.F) {
	for _, c := range everyCommand() {
		raw, err := Encode(Entry{Version, "fuzz", 1, "user/root", c})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte(`{"v":1,"kind":"place_jail"}`))
	l := newLog(f)
	l.must(host("h1"))
	l.must(ApplyWish{Wish: testWish("demo", "10.66.0.0/24", 2)})
	l.run("demo-web-1", "h1")
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := Decode(raw)
		var unknown *UnknownKindError
		if errors.As(err, &unknown) {
			return
		}
		s, events, err := Apply(l.s, l.index+1, e, raw)
		var r *Refusal
		if errors.As(err, &r) && r.Code == CodeInternal {
			t.Fatal(r)
		}
		checkInvariants(t, s)
		checkStep(t, l.s, s, events, err)
		for _, h := range events {
			if _, err := EncodeEvent(h); err != nil {
				t.Fatal(err)
			}
		}
		roundTrip(t, s)
	})
}

// FuzzRead: no bytes make Read panic; what it accepts it writes again.
func FuzzRead(f *testing.F) {
	l := newLog(f)
	l.must(ApplyWish{Wish: testWish("demo", "10.66.0.0/24", 2)})
	var b bytes.Buffer
	if err := Write(&b, l.s); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if s, err := Read(bytes.NewReader(raw)); err == nil {
			if got := s.Hash(); got == [32]byte{} {
				t.Fatal("no hash")
			}
		}
	})
}

func TestDamagedSnapshotsAreRefused(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.must(ApplyWish{Wish: testWish("demo", "10.66.0.0/24", 20)})
	var b bytes.Buffer
	if err := Write(&b, l.s); err != nil {
		t.Fatal(err)
	}
	whole := b.Bytes()
	if _, err := Read(bytes.NewReader(whole)); err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		if s, err := Read(bytes.NewReader(whole[:n])); err == nil || s != nil {
			t.Fatalf("cut after %d of %d bytes: got a State (%v)", n, len(whole), err)
		}
		bent := bytes.Clone(whole)
		bent[n] ^= 0x10
		if s, err := Read(bytes.NewReader(bent)); err == nil && s.Hash() != l.s.Hash() {
			t.Fatalf("bit flipped in byte %d of %d: got another State", n, len(whole))
		}
	}
	if _, err := Read(bytes.NewReader(append(bytes.Clone(whole), 'x'))); err == nil {
		t.Error("a byte after the end: got a State")
	}
}

// TestReleasedLogsReplayToTheirHash: what was written by any released version
// gives the same State for ever. Never edit testdata/log/vN; a changed hash
// is a changed meaning.
func TestReleasedLogsReplayToTheirHash(t *testing.T) {
	t.Parallel()
	dirs, err := filepath.Glob("testdata/log/v*")
	if err != nil || len(dirs) < 2 {
		t.Fatal(dirs, err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) { replayRelease(t, dir) })
	}
}

func replayRelease(t *testing.T, dir string) {
	raw, err := os.ReadFile(filepath.Join(dir, "log.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	s := New()
	for line := range bytes.Lines(raw) {
		line = bytes.TrimSuffix(line, []byte("\n"))
		e, err := Decode(line)
		if err != nil {
			t.Fatalf("entry %d: %v", s.Index+1, err)
		}
		s, _, _ = Apply(s, s.Index+1, e, line)
	}
	checkInvariants(t, s)
	dump, err := os.ReadFile(filepath.Join(dir, "state.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if got := dumpOf(s); got != string(dump) {
		t.Errorf("the State is now\n%s\nand was\n%s", got, dump)
	}
}

func TestACertificateSignedDirectlyKeepsItsForm(t *testing.T) {
	t.Parallel()
	of := &CertOf{"h1", []string{"web-1.n.d"}, []netip.Addr{netip.MustParseAddr("10.0.0.3")}, "spiffe://c/jail/web-1"}
	raw, err := Encode(Entry{Version, "id-1", 1, "ca", SetCert{"web-1", 3, "-----BEGIN", "01", 2, of, ""}})
	if err != nil {
		t.Fatal(err)
	}
	back, err := Decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	if got := back.Cmd.(SetCert).Of; got == nil || got.Host != of.Host || got.URI != of.URI || !slices.Equal(got.Names, of.Names) || !slices.Equal(got.Addrs, of.Addrs) {
		t.Errorf("%s came back as %+v", raw, got)
	}
}
