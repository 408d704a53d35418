package dnsd

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/miekg/dns"

	"github.com/rexcarcer/rexcarcer/fsm"
)

var quiet = slog.New(slog.DiscardHandler)

// startFeed serves network of h at path until stop is called or the test ends.
func startFeed(t *testing.T, h *history, network, path string, allow func(uint32) bool) (stop func()) {
	t.Helper()
	listener, err := ListenFeed(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- ServeFeed(ctx, listener, h, network, allow, quiet) }()
	ended := false
	stop = func() {
		if ended {
			return
		}
		ended = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// startFollow returns the zones that arrive.
func startFollow(t *testing.T, path string) <-chan *Zone {
	t.Helper()
	zones := make(chan *Zone, 100)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Follow(ctx, path, func(z *Zone) { zones <- z }, quiet) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return zones
}

// await takes zones until ok.
func await(t *testing.T, zones <-chan *Zone, what string, ok func(*Zone) bool) *Zone {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		select {
		case z := <-zones:
			if ok(z) {
				return z
			}
		case <-deadline:
			t.Fatalf("never came: %s", what)
		}
	}
}

func everyone(uint32) bool { return true }

func TestRouterFollowsEveryChange(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	path := filepath.Join(t.TempDir(), "front", "front.seq_packet")
	startFeed(t, h, "front", path, everyone)
	zones := startFollow(t, path)
	members := func(n int) func(*Zone) bool {
		return func(z *Zone) bool {
			answers, _ := lookup(t, z, "web.front.rex.internal.", dns.TypeA)
			return len(answers) == n
		}
	}
	await(t, zones, "a first zone", members(0))
	h.run("web-1", fsm.HealthHealthy)
	await(t, zones, "the first member", members(1))
	h.run("web-2", fsm.HealthHealthy)
	await(t, zones, "the second member", members(2))
	h.apply(fsm.MarkHost{Host: "h1", State: fsm.HostDraining})
	want := uint32(h.State().Index)
	await(t, zones, "the serial of an entry without records", func(z *Zone) bool { return z.Serial() == want })
}

func TestRouterKeepsItsZoneAndComesBackWhenTheDaemonRestarts(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	path := filepath.Join(t.TempDir(), "front.seq_packet")
	stop := startFeed(t, h, "front", path, everyone)
	zones := startFollow(t, path)
	await(t, zones, "a first zone", func(*Zone) bool { return true })
	stop()
	// A daemon that was killed leaves its socket behind.
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ListenFeed(path, 0o600); err == nil {
		t.Fatal("a file that is no socket was replaced")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	stale, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	if err := stale.Close(); err != nil {
		t.Fatal(err)
	}
	h.run("web-1", fsm.HealthHealthy)
	startFeed(t, h, "front", path, everyone)
	await(t, zones, "the zone of the restarted daemon", func(z *Zone) bool {
		answers, _ := lookup(t, z, "web.front.rex.internal.", dns.TypeA)
		return len(answers) == 1
	})
}

func TestFeedTellsStrangersNothing(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	path := filepath.Join(t.TempDir(), "front.seq_packet")
	startFeed(t, h, "front", path, func(uid uint32) bool { return uid != uint32(os.Getuid()) })
	if reply := say(t, path, `{"v":1,"type":"follow"}`); reply.Type != typeError || !strings.Contains(reply.Text, "may not") {
		t.Errorf("reply %+v", reply)
	}
}

func TestFeedRefusesWhatIsNoFollow(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	path := filepath.Join(t.TempDir(), "front.seq_packet")
	startFeed(t, h, "front", path, everyone)
	for _, hello := range []string{`{"v":2,"type":"follow"}`, `{"v":1,"type":"shell"}`, `not json`, `[]`, strings.Repeat("[", feedLimit)} {
		if reply := say(t, path, hello); reply.Type != typeError {
			t.Errorf("%.30s: reply %+v", hello, reply)
		}
	}
	if reply := say(t, path, `{"v":1,"type":"follow"}`); reply.Type != typeZone {
		t.Errorf("afterwards: reply %+v", reply)
	}
}

func say(t *testing.T, path, hello string) (reply feedMessage) {
	t.Helper()
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// The feed may have refused and closed already.
	_, writeErr := conn.Write([]byte(hello))
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, feedLimit)
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatalf("%v (write: %v)", err, writeErr)
	}
	if err := json.Unmarshal(buf[:n], &reply); err != nil {
		t.Fatal(err)
	}
	return reply
}

func TestLargeTablesTravelInPartsBelowTheLimit(t *testing.T) {
	t.Parallel()
	for _, want := range []*Table{{Domain: "rex.internal"}, testTable(), benchTable(20000)} {
		messages, err := encodeTable(want, 7)
		if err != nil {
			t.Fatal(err)
		}
		var parts assembly
		for i, data := range messages {
			if len(data) > feedLimit {
				t.Fatalf("part %d has %d bytes", i, len(data))
			}
			var m feedMessage
			if err := json.Unmarshal(data, &m); err != nil {
				t.Fatal(err)
			}
			whole, err := parts.add(&m)
			if err != nil || whole != (i == len(messages)-1) {
				t.Fatalf("part %d of %d: whole %v, %v", i, len(messages), whole, err)
			}
		}
		if diff := cmp.Diff(want, &parts.table, cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
}

func TestPartsOutOfOrderAreNotPutTogether(t *testing.T) {
	t.Parallel()
	for i, parts := range [][]feedMessage{
		{{Gen: 1, Part: 1, Of: 2}},
		{{Gen: 1, Part: 0, Of: 3}, {Gen: 1, Part: 2, Of: 3}},
		{{Gen: 1, Part: 0, Of: 2}, {Gen: 2, Part: 1, Of: 2}},
		{{Gen: 1, Part: 0, Of: maxParts + 1}},
		{{Gen: 1, Part: -1, Of: 2}},
		{{Gen: 1, Part: 0, Of: 0}},
		{{Gen: 1, Part: 0, Of: 1, Records: json.RawMessage(`{}`)}},
	} {
		var a assembly
		var err error
		for j := range parts {
			if _, err = a.add(&parts[j]); err != nil {
				break
			}
		}
		if err == nil {
			t.Errorf("case %d was accepted: %s", i, fmt.Sprint(parts))
		}
	}
}

func TestTrackKeepsTheHandlerInStep(t *testing.T) {
	t.Parallel()
	states, h := newHistory(t), localHandler(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Track(ctx, states, h) }()
	states.run("web-1", fsm.HealthHealthy)
	want := uint32(states.State().Index)
	for deadline := time.Now().Add(10 * time.Second); h.Zone().Serial() != want; {
		if time.Now().After(deadline) {
			t.Fatalf("serial %d, want %d", h.Zone().Serial(), want)
		}
		select {
		case <-states.Watch():
		case <-time.After(time.Millisecond):
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
