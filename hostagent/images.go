package hostagent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rexcarcer/rexcarcer/hostagent/build"
	"github.com/rexcarcer/rexcarcer/netd"
	"github.com/rexcarcer/rexcarcer/spec"
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
		Attach: a.attachBuild, Resolve: a.imageKey, Timeout: time.Hour, Log: a.c.Log,
	})
}

// buildIDs is the first user id of builds: the range below those of jails.
const buildIDs = firstID - idsPerJail

// Build makes an image on this host; see build.Builder. The cluster hears of
// it by the caller.
func (a *Agent) Build(ctx context.Context, img spec.Image, content io.Reader, progress func(build.Event)) (build.Result, error) {
	if a.features.Simulated {
		progress(build.Event{Kind: build.StepCached, Image: img.Name, Text: "simulated: nothing is built"})
		return build.Result{Key: img.Key, StepsCached: len(img.Steps)}, nil
	}
	return a.builder.Build(ctx, img, content, progress)
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

var buildSubnet = netip.MustParsePrefix("169.254.191.0/24")

func buildNet() netd.Network {
	sum := sha256.Sum256([]byte(buildNetwork))
	return netd.Network{Name: buildNetwork, ID: hex.EncodeToString(sum[:4]), Subnet: buildSubnet, NAT: true}
}

// attachBuild gives one RUN step a namespace on the build network.
func (a *Agent) attachBuild(ctx context.Context, id string) (build.Network, error) {
	slot, err := a.networks.build.take()
	if err != nil {
		return build.Network{}, err
	}
	poke(a.networks.wakeup)
	sum := sha256.Sum256([]byte("build/" + id))
	short := hex.EncodeToString(sum[:4])
	done := func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		defer a.networks.build.give(slot)
		return a.c.Nets.Detach(ctx, short)
	}
	if err := a.networks.await(ctx, []string{buildNetwork}); err != nil {
		return build.Network{}, errors.Join(err, done())
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

// slots are the addresses of the build network.
type slots struct {
	mu   sync.Mutex
	used map[netip.Addr]bool // guarded by mu
	ever bool                // guarded by mu; the network is made at the first build
}

func (s *slots) take() (netip.Addr, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ever = true
	if s.used == nil {
		s.used = map[netip.Addr]bool{}
	}
	// The first address is the gateway's, the second the host's.
	for a := buildSubnet.Addr().Next().Next().Next(); buildSubnet.Contains(a.Next()); a = a.Next() {
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

func (s *slots) wanted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ever
}
