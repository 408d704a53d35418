package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// open starts a group of one in dir and waits until it leads.
func open(t testing.TB, dir string, change ...func(*Config)) *Node {
	t.Helper()
	n, err := tryOpen(t, dir, change...)
	if err != nil {
		t.Fatal(err)
	}
	lead(t, n)
	return n
}

func tryOpen(t testing.TB, dir string, change ...func(*Config)) (*Node, error) {
	t.Helper()
	cfg := Config{Dir: dir, Heartbeat: 20 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
		Fatal: func(err error) { t.Errorf("the process would have ended: %v", err) }}
	for _, c := range change {
		c(&cfg)
	}
	n, err := Open(cfg)
	if err == nil {
		t.Cleanup(func() { _ = n.Close() }) // a test that cares has closed it itself
	}
	return n, err
}

func lead(t testing.TB, n *Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if !n.awaitLeadership(ctx) {
		t.Fatal("no leadership within 20 s")
	}
}

func propose(t testing.TB, n *Node, cmd fsm.Command) fsm.Applied {
	t.Helper()
	a, err := n.Propose(t.Context(), "test", cmd)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

var genesis = fsm.Genesis{ClusterID: "rc-test0001", Domain: "rex.internal", CA: "PEM"}

func host(i int) fsm.Command {
	return fsm.RegisterHost{Host: fsm.Host{ID: fsm.HostID(fmt.Sprintf("h-%d", i)), Name: fmt.Sprintf("host%d", i),
		Role: "server", State: fsm.HostAlive, OS: "linux", Arch: "amd64", Runtime: "sim", Version: "1"}}
}

// fill commits Genesis and n hosts.
func fill(t testing.TB, node *Node, n int) {
	t.Helper()
	propose(t, node, genesis)
	for i := range n {
		propose(t, node, host(i))
	}
}

func TestAcknowledgedEntriesSurviveARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := open(t, dir)
	fill(t, n, 20)
	before := n.State()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir)
	after := again.State()
	if after.Index != before.Index || after.Chain != before.Chain || after.Hosts.Len() != 20 {
		t.Errorf("after the restart: index %d, chain %x, %d hosts; want index %d, chain %x, 20 hosts",
			after.Index, after.Chain[:4], after.Hosts.Len(), before.Index, before.Chain[:4])
	}
	if again.ID() != n.ID() {
		t.Errorf("host id changed from %s to %s", n.ID(), again.ID())
	}
}

func TestARepeatedIDHappensOnce(t *testing.T) {
	t.Parallel()
	n := open(t, t.TempDir())
	fill(t, n, 0)
	for range 2 {
		if _, err := n.ProposeID(t.Context(), "the-same", "test", host(1)); err != nil {
			t.Fatal(err)
		}
	}
	var seen int
	err := n.Events(t.Context(), 0, false, func(h fsm.Happened) error {
		if _, ok := h.Event.(fsm.HostRegistered); ok {
			seen++
		}
		return nil
	})
	if err != nil || seen != 1 {
		t.Errorf("got %d registrations, error %v; want 1", seen, err)
	}
}

func TestRefusalComesBackWithItsIndex(t *testing.T) {
	t.Parallel()
	n := open(t, t.TempDir())
	fill(t, n, 0)
	a, err := n.Propose(t.Context(), "test", fsm.RestartJail{Jail: "nobody"})
	refusal := (*fsm.Refusal)(nil)
	if !errors.As(err, &refusal) || refusal.Code != fsm.CodeNotFound || a.Index == 0 {
		t.Errorf("got %v at index %d; want a refusal with code not_found and an index", err, a.Index)
	}
}

func TestEventsGoOnWithoutLossAcrossSnapshotAndRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	small := func(c *Config) { c.TrailingLogs = 5 }
	n := open(t, dir, small)
	fill(t, n, 30)
	if err := n.Snapshot(); err != nil {
		t.Fatal(err)
	}
	for i := 30; i < 40; i++ {
		propose(t, n, host(i))
	}
	want := collect(t, n, 0)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n = open(t, dir, small)
	if got := collect(t, n, 0); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("events since 0 after the restart differ:\ngot  %d: %v\nwant %d: %v", len(got), got, len(want), want)
	}
	if got := collect(t, n, 20); len(got) == 0 || len(got) >= len(want) {
		t.Errorf("events since 20: got %d of %d", len(got), len(want))
	}
}

func collect(t testing.TB, n *Node, since uint64) (out []string) {
	t.Helper()
	err := n.Events(t.Context(), since, false, func(h fsm.Happened) error {
		out = append(out, fmt.Sprint(h.Index, " ", h.Event.Kind(), " ", h.Event.Object()))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAnyPastStateCanBeRebuilt(t *testing.T) {
	t.Parallel()
	n := open(t, t.TempDir(), func(c *Config) { c.TrailingLogs = 1 })
	propose(t, n, genesis)
	chains := map[uint64][32]byte{}
	for i := range 25 {
		a := propose(t, n, host(i))
		chains[a.Index] = n.State().Chain
		if i == 10 || i == 20 {
			if err := n.Snapshot(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for index, chain := range chains {
		s, err := n.StateAt(t.Context(), index)
		if err != nil {
			t.Fatal(err)
		}
		if s.Index != index || s.Chain != chain {
			t.Errorf("state at %d: got index %d, chain %x; want chain %x", index, s.Index, s.Chain[:4], chain[:4])
		}
	}
}

func TestFollowerOfEventsSeesNewOnes(t *testing.T) {
	t.Parallel()
	n := open(t, t.TempDir())
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	enough := errors.New("enough")
	got := make(chan error, 1)
	go func() {
		seen := 0
		got <- n.Events(ctx, 0, true, func(fsm.Happened) error {
			if seen++; seen == 6 {
				return enough
			}
			return nil
		})
	}()
	fill(t, n, 10)
	if err := <-got; !errors.Is(err, enough) {
		t.Error(err)
	}
}

func TestSecondDaemonOnOneDataDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open(t, dir)
	if _, err := tryOpen(t, dir); err == nil || !strings.Contains(err.Error(), "another rexcarcer") {
		t.Errorf("got %v, want a word about another rexcarcer", err)
	}
}

func TestDutiesRunWhileLeadingAndAreWaitedFor(t *testing.T) {
	t.Parallel()
	n := open(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	begun, ended := make(chan struct{}), false
	result := make(chan error, 1)
	go func() {
		result <- n.Run(ctx, func(ctx context.Context) error {
			close(begun)
			<-ctx.Done()
			ended = true
			return nil
		})
	}()
	<-begun
	cancel()
	if err := <-result; err != nil || !ended {
		t.Errorf("Run returned %v, duty ended: %v; want nil, true", err, ended)
	}
}

func TestAFailingDutyEndsRun(t *testing.T) {
	t.Parallel()
	n := open(t, t.TempDir())
	broken := errors.New("broken")
	if err := n.Run(t.Context(), func(context.Context) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("got %v, want the duty's error", err)
	}
}

func TestTooLargeAnEntryIsRefusedAtTheDoor(t *testing.T) {
	t.Parallel()
	n := open(t, t.TempDir())
	big := genesis
	big.CA = strings.Repeat("x", MaxEntryBytes)
	_, err := n.Propose(t.Context(), "test", big)
	if refusal := (*fsm.Refusal)(nil); !errors.As(err, &refusal) {
		t.Errorf("got %v, want a refusal", err)
	}
}

// The log's own clock counts: an entry belongs to the highest time so far.
func TestATimeFindsTheLastEntryBefore(t *testing.T) {
	t.Parallel()
	n := open(t, t.TempDir(), func(c *Config) { c.TrailingLogs = 1 })
	propose(t, n, genesis)
	at := map[uint64]fsm.Time{}
	for i := range 25 {
		a := propose(t, n, host(i))
		at[a.Index] = n.State().Now
		if i == 10 || i == 20 {
			if err := n.Snapshot(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for index, when := range at {
		got, err := n.IndexAt(t.Context(), when)
		if err != nil {
			t.Fatal(err)
		}
		// Two entries may have the same nanosecond; the last of them counts.
		if got < index || at[got] != when {
			t.Errorf("at the time of entry %d: got %d", index, got)
		}
		if before, err := n.IndexAt(t.Context(), when-1); err != nil || before >= index {
			t.Errorf("right before entry %d: got %d, %v", index, before, err)
		}
	}
	if got, err := n.IndexAt(t.Context(), 0); got != 0 || err != nil {
		t.Errorf("before everything: got %d, %v", got, err)
	}
}

func TestVerifyComparesTheWholeLogAndNamesWhatWasAltered(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := open(t, dir, func(c *Config) { c.TrailingLogs = 1 })
	fill(t, n, 20)
	if err := n.Snapshot(); err != nil {
		t.Fatal(err)
	}
	propose(t, n, host(100))
	a, err := n.Verify(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if s := n.State(); a.From != 1 || a.To != s.Index || a.Chain != s.Chain || a.States != 1 || a.Entries == 0 {
		t.Errorf("got %+v; the State is at %d", a, s.Index)
	}
	half, err := n.Verify(t.Context(), a.To-3)
	if err != nil || half.Chain == a.Chain || half.To != a.To-3 {
		t.Errorf("up to %d: %+v, %v", a.To-3, half, err)
	}
	// Another history with sums that are right: only the chain tells.
	other := open(t, t.TempDir(), func(c *Config) { c.TrailingLogs = 1 })
	fill(t, other, 21)
	if err := other.Snapshot(); err != nil {
		t.Fatal(err)
	}
	forge(t, other, n)
	if _, err := n.Verify(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "altered") {
		t.Errorf("a forged archive: got %v", err)
	}
}

// forge puts the entries of one archive in the place of another's.
func forge(t *testing.T, from, to *Node) {
	t.Helper()
	a, err := from.archive.segments()
	if err != nil || len(a) == 0 {
		t.Fatal(a, err)
	}
	b, err := to.archive.segments()
	if err != nil || len(b) == 0 {
		t.Fatal(b, err)
	}
	text, err := os.ReadFile(a[0].path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(b[0].path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
