package fsm

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
)

func TestRetriedEntryHappensOnce(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.must(host("h1"))
	l.must(ApplyWish{Wish: testWish("demo", "10.66.0.0/24", 1)})
	item := l.item(RestartJail{"demo-web-1"})
	once, events, err := Apply(l.s, item.Index, item.Entry, item.Raw)
	if err != nil || len(events) != 1 {
		t.Fatalf("got %v, %v", events, err)
	}
	twice, events, err := Apply(once, item.Index+1, item.Entry, item.Raw)
	if err != nil || len(events) != 0 {
		t.Fatalf("the same ID again: got %v, %v, want no events", events, err)
	}
	if j, _ := twice.Jails.Get("demo-web-1"); j.Restart != 1 {
		t.Errorf("restarted %d times, want once", j.Restart)
	}
	if twice.Index != item.Index+1 || twice.Chain == once.Chain {
		t.Error("the log went on, Index and Chain did not")
	}
}

func TestRetriedEntryIsRefusedAgain(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	item := l.item(RestartJail{"nobody"})
	s, _, first := Apply(l.s, item.Index, item.Entry, item.Raw)
	s = roundTrip(t, s) // the memory is part of the State
	_, _, second := Apply(s, item.Index+1, item.Entry, item.Raw)
	var a, b *Refusal
	if !errors.As(first, &a) || !errors.As(second, &b) || *a != *b {
		t.Errorf("first %v, then %v: want the same refusal", first, second)
	}
}

func TestNewestIDsAreRemembered(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	entry := func(i int) Entry {
		return Entry{V: Version, ID: fmt.Sprintf("n-%d", i), At: l.now, By: "user/root", Cmd: host("h1")}
	}
	const many = 3*maxIDs + 100
	for first := 0; first < many; {
		var items []Item
		for range 1000 {
			l.index++
			items = append(items, Item{l.index, entry(first), nil})
			first++
		}
		l.all(items)
	}
	t0 := begin(l.s)
	for i := range many {
		if _, known := t0.seen(fmt.Sprintf("n-%d", i)); !known && i >= many-maxIDs {
			t.Fatalf("id %d of %d is forgotten", i, many)
		}
	}
	if n := l.s.young.Len() + l.s.old.Len(); n > 2*maxIDs {
		t.Errorf("%d ids are kept, at most %d should be", n, 2*maxIDs)
	}
}

func TestBatchGivesTheSameEvents(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	founded := l.s
	l.lifetime()
	items := l.items[1:]
	_, batched, batchErrs := ApplyAll(founded, items)
	s := founded
	for i, item := range items {
		var one []Happened
		var err error
		s, one, err = Apply(s, item.Index, item.Entry, item.Raw)
		got, want := asJSON(t, batched[i]), asJSON(t, one)
		if got != want || fmt.Sprint(batchErrs[i]) != fmt.Sprint(err) {
			t.Fatalf("index %d, in a batch: %s (%v)\nalone: %s (%v)", item.Index, got, batchErrs[i], want, err)
		}
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestNothingHappensBeforeGenesis(t *testing.T) {
	t.Parallel()
	s := New()
	for i, c := range everyCommand()[1:] {
		next, events, err := Apply(s, uint64(i+1), Entry{V: Version, Cmd: c}, nil)
		if err == nil || len(events) != 0 {
			t.Fatalf("%s: got %v, %v, want a refusal", c.Kind(), events, err)
		}
		s = next
	}
	l := newLog(t)
	l.refused(Genesis{ClusterID: "cluster-0002", Domain: "other.internal"}, CodeConflict)
}

func TestUndecodableEntryMovesTheLogOn(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	raw := []byte("\x00garbage")
	e, err := Decode(raw)
	if err == nil {
		t.Fatal("decoded garbage")
	}
	s, events, err := Apply(l.s, l.index+1, e, raw)
	if err == nil || len(events) != 0 || s.Index != l.index+1 || s.Chain == l.s.Chain {
		t.Errorf("got index %d, %v, %v", s.Index, events, err)
	}
}

func TestOldStateIsNeverTouched(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.must(host("h1"))
	l.must(host("h2"))
	l.must(ApplyWish{Wish: testWish("demo", "10.66.0.0/24", 4)})
	l.run("demo-web-1", "h1")
	s, hash := l.s, l.s.Hash()
	for _, c := range everyCommand() {
		item := l.item(c)
		Apply(s, item.Index, item.Entry, item.Raw)
		ApplyAll(s, []Item{item, l.item(ApplyWish{Wish: testWish("x", "10.1.0.0/24", 3)}), l.item(DestroyWish{Name: "demo"})})
	}
	if s.Hash() != hash {
		t.Error("applying to a State changed it")
	}
}

// poison emits, then panics.
type poison struct{}

func (poison) Kind() string { return "poison" }
func (poison) decide(t *txn) *Refusal {
	t.emit(DomainChanged{"half.done"})
	panic(fmt.Sprintf("at index %d", t.s.Index))
}

func TestPanickingCommandIsRefusedAndHarmless(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	good := func() Item { return l.item(host("h1")) }
	bad := func() Item {
		l.index++
		return Item{l.index, Entry{V: Version, ID: fmt.Sprintf("bad-%d", l.index), At: l.now, Cmd: poison{}}, []byte("bad")}
	}
	items := []Item{good(), bad(), l.item(ApplyWish{Wish: testWish("demo", "10.66.0.0/24", 2)}), bad(), l.item(RestartJail{"demo-web-1"})}
	s, events, errs := ApplyAll(l.s, items)
	for i, bad := range []bool{false, true, false, true, false} {
		var r *Refusal
		if got := errors.As(errs[i], &r) && r.Code == CodeInternal; got != bad || (len(events[i]) == 0) != bad {
			t.Errorf("entry %d: %d events and %v", i, len(events[i]), errs[i])
		}
	}
	if s.Cluster.Domain != "rex.internal" || s.Index != items[4].Index || s.Jails.Len() != 2 {
		t.Errorf("domain %s, index %d, %d jails", s.Cluster.Domain, s.Index, s.Jails.Len())
	}
	checkInvariants(t, s)
	one := l.s
	for _, item := range items {
		one, _, _ = Apply(one, item.Index, item.Entry, item.Raw)
	}
	if one.Hash() != s.Hash() {
		t.Error("one by one gives another State")
	}
}

// testOverlayKey is the nth public key for the overlay.
func testOverlayKey(n int) string {
	return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{byte(n)}, 32))
}
