package gossip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/testenv"
)

func key(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

// loud collects a member's log.
type loud struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *loud) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *loud) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start runs a member on a free port of its own loopback address.
func start(t *testing.T, id string, change ...func(*Config)) (*Gossip, *loud) {
	t.Helper()
	out := &loud{}
	var last error
	for range 20 { // a port that is free for TCP may be taken for UDP, or meanwhile
		c := Config{ID: id, Cluster: "rc-test", Bind: "127.0.0.1", Advertise: "127.0.0.1", Port: freePort(t), Keys: [][]byte{key(1)},
			Known: func(id string) bool { return strings.HasPrefix(id, "h-") }, Peers: func() map[string]string { return nil },
			Log: slog.New(slog.NewTextHandler(out, nil))}
		for _, f := range change {
			f(&c)
		}
		g, err := Start(c)
		if err != nil {
			last = err
			continue
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- g.Run(ctx) }()
		t.Cleanup(func() {
			cancel()
			if err := errors.Join(<-done, g.Close()); err != nil {
				t.Error(err)
			}
		})
		return g, out
	}
	t.Fatal(last)
	return nil, nil
}

func freePort(t *testing.T) int {
	t.Helper()
	port, err := testenv.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func (g *Gossip) addr() string { return fmt.Sprintf("127.0.0.1:%d", g.c.Port) }

// with makes a member know where others are.
func with(others ...*Gossip) func(*Config) {
	return func(c *Config) {
		c.Peers = func() map[string]string {
			out := map[string]string{}
			for _, g := range others {
				out[g.c.ID] = g.addr()
			}
			return out
		}
	}
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(60 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within 60 s: %s", what)
		}
	}
}

func TestADeadMemberIsFound(t *testing.T) {
	t.Parallel()
	one, _ := start(t, "h-1")
	two, _ := start(t, "h-2", with(one))
	three, _ := start(t, "h-3", with(one))
	await(t, "all see all", func() bool {
		for _, g := range []*Gossip{one, two, three} {
			for _, id := range []string{"h-1", "h-2", "h-3"} {
				if !g.Members()[id].Alive {
					return false
				}
			}
		}
		return true
	})
	if err := three.Close(); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	await(t, "h-3 is found dead by both", func() bool {
		a, b := one.Members()["h-3"], two.Members()["h-3"]
		return !a.Alive && !b.Alive && !a.Since.IsZero()
	})
	t.Logf("found dead after %s", time.Since(begun).Round(10*time.Millisecond))
	if !one.Members()["h-2"].Alive {
		t.Error("h-2 was taken for dead too")
	}
}

// Case 62: no key, another key, another label, a stranger: not heard.
func TestWhoHasNoKeyIsNotHeard(t *testing.T) {
	t.Parallel()
	one, _ := start(t, "h-1")
	for name, change := range map[string]func(*Config){
		"another key":   func(c *Config) { c.Keys = [][]byte{key(9)} },
		"another label": func(c *Config) { c.Cluster = "rc-other" },
		"a stranger":    func(c *Config) { c.ID = "x-1" },
	} {
		g, _ := start(t, "h-9", change)
		_, err := g.list.Join([]string{"h-1/" + one.addr()})
		if _, seen := one.Members()[g.c.ID]; seen {
			t.Errorf("%s: it was taken in (join: %v)", name, err)
		}
	}
}

// Case 43: memberlist is silent about this; we are not.
func TestASecondHostWithAnIDIsToldLoudly(t *testing.T) {
	t.Parallel()
	one, told := start(t, "h-1")
	two, _ := start(t, "h-2", with(one))
	await(t, "they see each other", func() bool { return one.Members()["h-2"].Alive })
	start(t, "h-2", with(one))
	await(t, "the conflict is in the log", func() bool { return strings.Contains(told.String(), "two hosts claim to be the same member") })
	if !one.Members()["h-2"].Alive || !two.Members()["h-1"].Alive {
		t.Error("the first one was not kept")
	}
}

func TestKeysAreRotatedWithoutLoss(t *testing.T) {
	t.Parallel()
	one, _ := start(t, "h-1")
	two, _ := start(t, "h-2", with(one))
	await(t, "they see each other", func() bool { return one.Members()["h-2"].Alive && two.Members()["h-1"].Alive })
	for _, g := range []*Gossip{one, two} {
		if err := g.SetKeys([][]byte{key(2), key(1)}); err != nil {
			t.Fatal(err)
		}
	}
	for _, g := range []*Gossip{one, two} {
		if err := g.SetKeys([][]byte{key(2)}); err != nil {
			t.Fatal(err)
		}
	}
	three, _ := start(t, "h-3", with(one), func(c *Config) { c.Keys = [][]byte{key(2)} })
	await(t, "a third one with the new key is seen", func() bool {
		return one.Members()["h-3"].Alive && two.Members()["h-3"].Alive && three.Members()["h-2"].Alive
	})
	if a, b := one.Members()["h-2"], two.Members()["h-1"]; !a.Alive || !b.Alive {
		t.Error("a member was lost by the rotation")
	}
}
