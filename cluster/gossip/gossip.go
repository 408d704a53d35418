package gossip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/prometheus/client_golang/prometheus"
)

// Config of one member's gossip. All fields but Reg are required.
type Config struct {
	ID        string
	Cluster   string   // label of the messages
	Bind      string   // "" is all addresses
	Advertise string   // address by which others reach this member
	Port      int      // TCP and UDP, of both
	Keys      [][]byte // of 32 bytes, newest first

	Known func(id string) bool     // members that may be heard
	Peers func() map[string]string // HOST:PORT of the others' gossip by id

	Log *slog.Logger
	Reg prometheus.Registerer
}

// Seen is what gossip thinks of a member.
type Seen struct {
	Alive   bool
	Suspect bool      // alive, but it did not answer somebody
	Since   time.Time // that it is alive, or is not
}

// Gossip is one running member.
type Gossip struct {
	c    Config
	list *memberlist.Memberlist
	ring *memberlist.Keyring

	conflicts prometheus.Counter
	alive     prometheus.Gauge

	mu   sync.Mutex
	seen map[string]Seen // guarded by mu
}

// Start opens the ports. The caller runs Run and calls Close.
func Start(c Config) (*Gossip, error) {
	if len(c.Keys) == 0 {
		return nil, errors.New("gossip: no key")
	}
	g := &Gossip{c: c, seen: map[string]Seen{},
		conflicts: prometheus.NewCounter(prometheus.CounterOpts{Name: "rexcarcer_gossip_conflicts_total",
			Help: "Messages of a second host with the id of a first one."}),
		alive: prometheus.NewGauge(prometheus.GaugeOpts{Name: "rexcarcer_gossip_alive_members", Help: "Members that gossip sees alive."}),
	}
	var err error
	if g.ring, err = memberlist.NewKeyring(c.Keys, c.Keys[0]); err != nil {
		return nil, fmt.Errorf("gossip key: %w", err)
	}
	conf := memberlist.DefaultLANConfig()
	conf.Name, conf.Label = c.ID, c.Cluster
	conf.BindAddr, conf.BindPort, conf.AdvertiseAddr, conf.AdvertisePort = c.Bind, c.Port, c.Advertise, c.Port
	if c.Bind == "" {
		conf.BindAddr = "0.0.0.0"
	}
	conf.Keyring = g.ring
	// Found dead 2 to 4 seconds after the last answer. Lifeguard (awareness)
	// stretches that where this host itself is slow.
	conf.ProbeInterval, conf.ProbeTimeout = 500*time.Millisecond, 400*time.Millisecond
	conf.SuspicionMult, conf.SuspicionMaxTimeoutMult = 4, 3
	conf.DeadNodeReclaimTime = 5 * time.Second // an address change of a member that was found dead
	conf.TCPTimeout, conf.PushPullInterval = 3*time.Second, 15*time.Second
	conf.UDPBufferSize, conf.RequireNodeNames = 1400, true
	conf.MsgpackUseNewTimeFormat = true
	conf.Events, conf.Conflict, conf.Alive = g, g, g
	conf.Logger = log.New(lines{c.Log}, "", 0)
	if g.list, err = memberlist.Create(conf); err != nil {
		return nil, fmt.Errorf("gossip on port %d: %w: choose another -gossip-port, or 0 to do without", c.Port, err)
	}
	if c.Reg != nil {
		c.Reg.MustRegister(g.conflicts, g.alive)
	}
	return g, nil
}

// Run joins members that are not seen yet, until ctx ends.
func (g *Gossip) Run(ctx context.Context) error {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		if to := g.missing(); len(to) > 0 {
			if _, err := g.list.Join(to); err != nil {
				g.c.Log.Debug("gossip: join", "err", err)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// missing are the addresses of a few members that are not seen alive.
func (g *Gossip) missing() []string {
	peers := g.c.Peers()
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []string
	for _, id := range slices.Sorted(maps.Keys(peers)) {
		if !g.seen[id].Alive && id != g.c.ID && len(out) < 3 {
			out = append(out, id+"/"+peers[id])
		}
	}
	return out
}

// Close leaves without a word, as a crash does: the others find out.
func (g *Gossip) Close() error {
	if err := g.list.Shutdown(); err != nil {
		return fmt.Errorf("end gossip: %w", err)
	}
	return nil
}

// SetKeys takes keys of 32 bytes, newest first. Messages under those that are
// left out are not understood any more.
func (g *Gossip) SetKeys(keys [][]byte) error {
	for i := len(keys) - 1; i >= 0; i-- {
		if err := g.ring.AddKey(keys[i]); err != nil {
			return fmt.Errorf("gossip key: %w", err)
		}
	}
	if err := g.ring.UseKey(keys[0]); err != nil {
		return fmt.Errorf("gossip key: %w", err)
	}
	for _, old := range g.ring.GetKeys() {
		if !slices.ContainsFunc(keys, func(k []byte) bool { return bytes.Equal(k, old) }) {
			if err := g.ring.RemoveKey(old); err != nil {
				return fmt.Errorf("gossip key: %w", err)
			}
		}
	}
	return nil
}

// Members is what is seen, this member included. Who was never seen is not in it.
func (g *Gossip) Members() map[string]Seen {
	g.mu.Lock()
	out := maps.Clone(g.seen)
	g.mu.Unlock()
	for _, n := range g.list.Members() {
		if s, ok := out[n.Name]; ok && n.State == memberlist.StateSuspect {
			s.Suspect = true
			out[n.Name] = s
		}
	}
	return out
}

func (g *Gossip) see(id string, alive bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if old, ok := g.seen[id]; !ok || old.Alive != alive {
		g.seen[id] = Seen{Alive: alive, Since: time.Now()}
	}
	var n float64
	for _, s := range g.seen {
		if s.Alive {
			n++
		}
	}
	g.alive.Set(n)
}

// NotifyJoin implements memberlist.EventDelegate.
func (g *Gossip) NotifyJoin(n *memberlist.Node) { g.see(n.Name, true) }

// NotifyLeave implements memberlist.EventDelegate.
func (g *Gossip) NotifyLeave(n *memberlist.Node) { g.see(n.Name, false) }

// NotifyUpdate implements memberlist.EventDelegate.
func (g *Gossip) NotifyUpdate(n *memberlist.Node) { g.see(n.Name, true) }

// NotifyConflict implements memberlist.ConflictDelegate: memberlist itself
// says nothing of a second host with a name that is taken.
func (g *Gossip) NotifyConflict(existing, other *memberlist.Node) {
	g.conflicts.Inc()
	g.c.Log.Error("two hosts claim to be the same member: stop one of them, wipe it, and let it join as a new host",
		"id", existing.Name, "known at", existing.Address(), "claimed by", other.Address())
}

// NotifyAlive implements memberlist.AliveDelegate: strangers are not taken in.
func (g *Gossip) NotifyAlive(n *memberlist.Node) error {
	if n.Name == g.c.ID || g.c.Known(n.Name) {
		return nil
	}
	return fmt.Errorf("%s is no member of this cluster", n.Name)
}

// lines sends memberlist's log to slog, at a level where it does not disturb.
type lines struct{ log *slog.Logger }

// Write implements io.Writer.
func (l lines) Write(b []byte) (int, error) {
	l.log.Debug("gossip: " + string(bytes.TrimSpace(b)))
	return len(b), nil
}
