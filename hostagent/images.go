package hostagent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rexcarcer/rexcarcer/hostagent/build"
	"github.com/rexcarcer/rexcarcer/jail"
	"github.com/rexcarcer/rexcarcer/netd"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

func (a *Agent) newBuilder() *build.Builder {
	var ids zfssync.IDMap
	if a.idmap {
		ids = zfssync.IDMap{HostBase: buildIDs, Size: idsPerJail}
	}
	return build.New(build.Config{
		IDMap: ids,
		Store: a.c.Store, Jails: a.c.Jails, Dir: filepath.Join(a.c.Dir, "build"),
		Attach: a.attachBuild, Resolve: a.imageKey, Defaults: a.defaultsOf, Bring: a.fetch, Sources: buildSources{a}, Limits: a.c.BuildLimits, Timeout: a.c.BuildTimeout, Log: a.c.Log,
		Free: func() (int64, error) { return freeBytes(a.c.Dir) }, MinFree: a.c.BuildMinFree,
	})
}

// buildIDs is the first user id of builds: the range below those of jails.
const buildIDs = firstID - idsPerJail

// Build makes an image on this host; see build.Builder. The cluster hears of
// it by the caller.
func (a *Agent) Build(ctx context.Context, r build.Request, progress func(build.Event)) (build.Result, error) {
	if a.features.Simulated {
		progress(build.Event{Kind: build.StepCached, Image: r.Image.Name, Text: "simulated: nothing is built"})
		return build.Result{Key: r.Image.Key, StepsCached: len(r.Image.Steps)}, nil
	}
	if err := a.afterSweep(ctx); err != nil {
		return build.Result{}, err
	}
	res, err := a.builder.Build(ctx, r, progress)
	if err == nil { // an image stands on it now
		err = a.sources.DropUpload(r.Image.Base)
	}
	return res, err
}

// DebugImage runs a command in a jail of its own on what a name of the
// cluster means; see build.Builder.Shell.
func (a *Agent) DebugImage(ctx context.Context, name string, x jail.Exec) (int, error) {
	if a.features.Simulated {
		return 0, errors.New("jails are simulated here: there is nothing to look into")
	}
	key, ok := a.imageKey(name)
	if !ok {
		return 0, fmt.Errorf("image %s: %w", name, zfssync.ErrNotFound)
	}
	if err := errors.Join(a.afterSweep(ctx), a.fetch(ctx, name, key)); err != nil {
		return 0, err
	}
	code, err := a.builder.Shell(ctx, key, x)
	if err != nil {
		return 0, fmt.Errorf("look into image %s: %w", name, err)
	}
	return code, nil
}

func (a *Agent) imageKey(name string) (string, bool) {
	img, ok := a.c.Cluster.State().Images.Get(name)
	if !ok {
		return "", false
	}
	return img.Key, true
}

// buildNetwork is a network of the host alone, for RUN steps: they reach the
// outside through NAT and no jail reaches them. Its subnet is link-local
// (RFC 3927), so it overlaps nothing that a cluster may declare.
const buildNetwork = "rexcarcer-build"

// buildSubnets is how many link-local /24 there are to choose from: below
// those of clouds' metadata (169.254.169.0) and of the routers' uplinks.
const buildSubnets = 160

// buildRange is where they are. FreeBSD forwards nothing to link-local
// addresses (RFC 3927, section 2.7), not even answers to what NAT let out.
func buildRange(runtime string) [2]byte {
	if runtime == runtimeJail {
		return [2]byte{198, 18} // for tests of networks, RFC 2544
	}
	return [2]byte{169, 254}
}

func buildSubnet(high [2]byte, n int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{high[0], high[1], byte(1 + n%buildSubnets), 0}), 24)
}

// buildNet is named by the data directory, and its subnet begins there:
// several daemons can build on one machine.
func buildNet(dir string, subnet netip.Prefix) netd.Network {
	sum := sha256.Sum256([]byte(buildNetwork + dir))
	return netd.Network{Name: buildNetwork, ID: hex.EncodeToString(sum[:4]), Subnet: subnet, NAT: true}
}

// attachBuild gives one RUN step a namespace on the build network.
func (a *Agent) attachBuild(ctx context.Context, id string) (build.Network, error) {
	sum := sha256.Sum256([]byte("build/" + a.c.Dir + id))
	short := hex.EncodeToString(sum[:4])
	slot, err := a.buildSlot(ctx)
	if err != nil {
		return build.Network{}, err
	}
	done := func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		defer a.networks.build.give(slot)
		return a.c.Nets.Detach(ctx, short)
	}
	path, err := a.c.Nets.Attach(ctx, netd.NSConfig{ID: short, Name: "build " + id, Ports: []netd.Port{{Network: buildNetwork, Addr: slot}}})
	if err != nil {
		return build.Network{}, errors.Join(fmt.Errorf("network for the build: %w", err), done())
	}
	var conf strings.Builder
	for _, r := range a.c.Resolvers {
		fmt.Fprintf(&conf, "nameserver %s\n", r.Addr())
	}
	return build.Network{NetNS: path, ResolvConf: conf.String(), Close: done}, nil
}

// buildSlot reserves an address on the build network, once it is made. Where
// the host uses its subnet for something else another one is taken.
func (a *Agent) buildSlot(ctx context.Context) (netip.Addr, error) {
	for try := 1; ; try++ {
		slot, err := a.networks.build.take()
		if err != nil {
			return netip.Addr{}, err
		}
		poke(a.networks.wakeup)
		err = a.networks.await(ctx, []string{buildNetwork})
		if err == nil {
			return slot, nil
		}
		a.networks.build.give(slot)
		if overlap := (*netd.OverlapError)(nil); !errors.As(err, &overlap) || try == buildSubnets {
			return netip.Addr{}, err
		}
		a.networks.moveBuild(slot)
	}
}

// moveBuild takes the next subnet, unless another build did so already.
func (n *networks) moveBuild(from netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.build.move(from) {
		delete(n.ready, buildNetwork)
	}
}

// slots are the addresses of the build network.
type slots struct {
	high   [2]byte // of the subnets; immutable
	mu     sync.Mutex
	number int                 // guarded by mu; of the subnet
	used   map[netip.Addr]bool // guarded by mu
	ever   bool                // guarded by mu; the network is made at the first build
}

func newSlots(dir, runtime string) *slots {
	sum := sha256.Sum256([]byte(dir))
	return &slots{high: buildRange(runtime), number: int(sum[0]), used: map[netip.Addr]bool{}}
}

func (s *slots) take() (netip.Addr, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ever = true
	// The first address is the gateway's, the second the host's.
	subnet := buildSubnet(s.high, s.number)
	for a := subnet.Addr().Next().Next().Next(); subnet.Contains(a.Next()); a = a.Next() {
		if !s.used[a] {
			s.used[a] = true
			return a, nil
		}
	}
	return netip.Addr{}, errors.New("too many builds at once on this host: wait until one is done")
}

func (s *slots) give(a netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.used, a)
}

// move goes on to the next subnet if from is of the present one.
func (s *slots) move(from netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !buildSubnet(s.high, s.number).Contains(from) {
		return false
	}
	s.number++
	return true
}

// wanted is the subnet to make, once there has been a build.
func (s *slots) wanted() (netip.Prefix, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return buildSubnet(s.high, s.number), s.ever
}
