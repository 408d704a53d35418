package hostagent

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"sync"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/netd"
	"github.com/rexcarcer/rexcarcer/netd/mesh"
)

// OverlayDevice is what the agent needs of a *mesh.Mesh.
type OverlayDevice interface {
	Set(ctx context.Context, c mesh.Config) error
	Device() string
	Kind() string // "" while there is none
	Alive() bool  // what Set made is still there
}

// OverlayConfig says how networks go on on other hosts.
type OverlayConfig struct {
	Device     OverlayDevice // nil: by no overlay
	Port       uint16        // UDP, where Device listens
	Endpoint   string        // HOST:PORT by which other hosts reach it
	MTU        int           // bytes inside; the same on all hosts
	RekeyEvery time.Duration // a new key so often; 0: when it is asked for
	Settle     time.Duration // others know a new key for so long before it is used; 0 is DefaultSettle
	LocalPorts bool          // published ports lead to members on this host only
	VLANNIC    string        // interface that carries the VLANs of networks; "": none
}

// DefaultSettle is longer than the log needs to any host that is not cut off.
const DefaultSettle = 3 * time.Second

// overlay keeps this host's end of the overlay as State wants it.
type overlay struct {
	a    *Agent
	conf *OverlayConfig

	wakeup chan struct{}

	// Owned by networks.run.
	made   mesh.Config
	remote []netd.Remote
	done   bool      // made and remote are in force
	after  time.Time // a large State is not walked more often than this
	names  map[string]netip.AddrPort

	// Owned by run.
	nextKey  string // the public key that State has as the next one, since nextSeen
	nextSeen time.Time

	mu   sync.Mutex
	keys overlayKeys // guarded by mu
}

func newOverlay(a *Agent) (*overlay, error) {
	o := &overlay{a: a, conf: a.c.Overlay, wakeup: make(chan struct{}, 1), names: map[string]netip.AddrPort{}}
	if o.conf == nil {
		o.conf = &OverlayConfig{}
	}
	if o.conf.Settle == 0 {
		o.conf.Settle = DefaultSettle
	}
	if o.conf.Device == nil {
		return o, nil
	}
	var err error
	o.keys, err = openOverlayKeys(a.c.Dir, a.c.Random)
	return o, err
}

// pass makes the device and the ways by it what State wants. set says that networks were made anew: ways have to be looked at.
// wait is when to come again, 0 for not before State changes.
func (o *overlay) pass(ctx context.Context, s *fsm.State, set bool) (wait time.Duration, err error) {
	if o.conf.Device == nil {
		return 0, nil
	}
	begun := o.a.c.Clock()
	if wait := o.after.Sub(begun); wait > 0 && !set {
		return wait, nil
	}
	want := OverlayOf(s, o.a.c.Host)
	c, err := want.meshConfig(o.conf, o.private(want.Self), func(name string) netip.AddrPort { return o.resolve(ctx, name) })
	if err != nil {
		return 0, fmt.Errorf("overlay: %w", err)
	}
	// One fifth of a core at most, however many jails change: what is late is late by less than it took to find out.
	o.after = begun.Add(4 * o.a.c.Clock().Sub(begun))
	same := o.done && !set && o.conf.Device.Alive() && reflect.DeepEqual(o.remote, want.Remote)
	if same && reflect.DeepEqual(o.made, c) {
		return 0, nil
	}
	o.done = false
	// Who may send from an address comes before the way to it: what is sent in between would be refused on the other host.
	if err := o.conf.Device.Set(ctx, c); err != nil {
		return 0, err
	}
	if !same {
		if err := o.a.c.Nets.Reach(ctx, want.Remote); err != nil {
			return 0, err
		}
	}
	o.made, o.remote, o.done = c, want.Remote, true
	poke(o.wakeup) // the log may not know yet what the device is
	return 0, nil
}

// private is the key that the others have: the next one from the moment in which the log says so.
func (o *overlay) private(self *fsm.Overlay) mesh.Key {
	o.mu.Lock()
	defer o.mu.Unlock()
	if self != nil && self.Key == o.keys.next() {
		return o.keys.Next
	}
	return o.keys.Key
}

// resolve turns an endpoint into an address. One that cannot be found now has none, and is heard when it speaks first.
func (o *overlay) resolve(ctx context.Context, endpoint string) netip.AddrPort {
	if a, err := netip.ParseAddrPort(endpoint); err == nil {
		return a
	}
	if a, ok := o.names[endpoint]; ok {
		return a
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	a, err := net.ResolveUDPAddr("udp", endpoint)
	if err != nil || ctx.Err() != nil {
		o.a.c.Log.Warn("a host's endpoint on the overlay has no address", "endpoint", endpoint, "err", err)
		return netip.AddrPort{}
	}
	found := netip.AddrPortFrom(a.AddrPort().Addr().Unmap(), a.AddrPort().Port())
	o.names[endpoint] = found
	return found
}

// run publishes this host's end, and changes its key when that is due, until ctx ends.
func (o *overlay) run(ctx context.Context) {
	if o.conf.Device == nil {
		return
	}
	for {
		if !o.conf.Device.Alive() {
			poke(o.a.networks.wakeup)
		}
		wait, err := o.publish(ctx, o.a.c.Cluster.State())
		if err != nil && ctx.Err() == nil {
			o.a.c.Log.Warn("this host's end of the overlay is not as it should be, trying again", "err", err)
			o.a.metrics.failures.WithLabelValues("overlay").Inc()
			wait = 5 * time.Second
		}
		t := time.NewTimer(min(wait, 10*time.Second))
		select {
		case <-o.wakeup:
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
		t.Stop()
	}
}

// publish takes one step towards what the log should say of this host's end, and says when to look again.
func (o *overlay) publish(ctx context.Context, s *fsm.State) (time.Duration, error) {
	me, ok := s.Hosts.Get(string(o.a.c.Host))
	if !ok {
		return time.Minute, nil // State wakes us
	}
	keys, err := o.turn(me.Overlay)
	if err != nil {
		return 0, err
	}
	want := fsm.ReportOverlay{Host: o.a.c.Host, Key: keys.Key.Public().String(), Next: keys.next(), Endpoint: o.conf.Endpoint, Device: o.conf.Device.Kind()}
	have := me.Overlay
	if have != nil && want.Device == "" {
		want.Device = have.Device // what it was when there was one
	}
	wait := time.Hour
	if have != nil && have.Next != "" && have.Next == want.Next {
		if o.nextKey != have.Next {
			o.nextKey, o.nextSeen = have.Next, o.a.c.Clock()
		}
		if wait = o.conf.Settle - o.a.c.Clock().Sub(o.nextSeen); wait <= 0 {
			want.Key, want.Next = have.Next, ""
		}
	}
	if have == nil || want.Key != have.Key || want.Next != have.Next || want.Endpoint != have.Endpoint || want.Device != have.Device {
		err := o.a.propose(ctx, want)
		return 10 * time.Millisecond, err
	}
	if o.conf.RekeyEvery > 0 && have.Next == "" {
		wait = min(wait, have.KeyAt.Time().Add(o.conf.RekeyEvery).Sub(o.a.c.Clock()))
	}
	return max(wait, 10*time.Millisecond), nil
}

// turn brings the file of keys to where the log is: the next key becomes the key when the log has said so, and a next one
// is made when that is due.
func (o *overlay) turn(have *fsm.Overlay) (overlayKeys, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	k := o.keys
	switch {
	case have == nil:
		return k, nil
	case k.next() != "" && have.Key == k.next():
		k = overlayKeys{Key: k.Next}
		o.a.c.Log.Info("this host has a new key on the overlay", "key", have.Key)
	case k.next() == "" && have.Key == k.Key.Public().String() && o.due(have):
		var err error
		if k.Next, err = mesh.NewKey(o.a.c.Random); err != nil {
			return k, err
		}
	default:
		return k, nil
	}
	if err := k.save(o.a.c.Dir); err != nil {
		return o.keys, err
	}
	o.keys = k
	return k, nil
}

func (o *overlay) due(have *fsm.Overlay) bool {
	return have.Rekey || o.conf.RekeyEvery > 0 && !o.a.c.Clock().Before(have.KeyAt.Time().Add(o.conf.RekeyEvery))
}

// retreat takes the device away.
func (o *overlay) retreat(ctx context.Context) error {
	if o.conf.Device == nil {
		return nil
	}
	return o.conf.Device.Set(ctx, mesh.Config{})
}
