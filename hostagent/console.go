package hostagent

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/hostagent/build"
	"github.com/rexcarcer/rexcarcer/jail"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

// RouterConsole runs a command in a jail of its own on an image that is in the
// place of a network's router: what the router reaches, it reaches, and it can
// change nothing of it. image "" is that of a jail of the network, or any.
func (a *Agent) RouterConsole(ctx context.Context, network, image string, x jail.Exec) (int, error) {
	if a.features.Simulated {
		return 0, errors.New("networks are simulated here: there is nothing to look into")
	}
	s := a.c.Cluster.State()
	n, ok := s.Networks.Get(network)
	if !ok {
		return 0, fmt.Errorf("network %s is not known", network)
	}
	ns, err := a.c.Nets.RouterNS(network)
	if err != nil {
		return 0, err
	}
	key, err := a.consoleImage(s, network, image)
	if err != nil {
		return 0, err
	}
	if err := errors.Join(a.afterSweep(ctx), a.fetch(ctx, image, key)); err != nil {
		return 0, err
	}
	resolv := fmt.Sprintf("nameserver %s\nsearch %s.%s %s\n", n.Gateway, n.Name, s.Cluster.Domain, s.Cluster.Domain)
	code, err := a.builder.ShellIn(ctx, key, build.Network{NetNS: ns, ResolvConf: resolv}, x)
	if err != nil {
		return 0, fmt.Errorf("console of network %s: %w", network, err)
	}
	return code, nil
}

// consoleImage chooses what the console's tools come from.
func (a *Agent) consoleImage(s *fsm.State, network, image string) (key string, err error) {
	if image != "" {
		key, ok := a.imageKey(image)
		if !ok {
			return "", fmt.Errorf("image %s: %w", image, zfssync.ErrNotFound)
		}
		return key, nil
	}
	for name, r := range s.Runs.All {
		if j, ok := s.Jails.Get(name); ok && r.Host == a.c.Host && slices.Contains(networksOf(j), network) && a.c.Store.HasImage(r.Image) {
			return r.Image, nil
		}
	}
	for _, img := range s.Images.All {
		if a.c.Store.HasImage(img.Key) {
			return img.Key, nil
		}
	}
	return "", fmt.Errorf("console of network %s: this host has no image to take a shell from: name one with --image", network)
}
