package mesh

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/renameio/v2"
)

// wgTool is a device of FreeBSD's kernel, if_wg(4), by ifconfig(8) and wg(8). It compiles everywhere, so that it is tested
// everywhere; it outlives this process.
type wgTool struct {
	name   string
	os     bsdHost
	runDir string
}

// wgPath is where FreeBSD 13.2 and later have it.
const wgPath = "/usr/bin/wg"

func (k *wgTool) kind() string { return KindKernel }

func (k *wgTool) open(ctx context.Context, _ int) error {
	x, err := k.os.find(ctx, k.name)
	if err != nil {
		return err
	}
	if x != nil && slices.Contains(x.groups, "wg") {
		return nil // a daemon before this one made it
	}
	if x != nil {
		if err := k.os.destroy(ctx, k.name); err != nil {
			return err
		}
	}
	// ifconfig loads if_wg by itself. The name comes last: what is killed before is found by its description, and is no
	// more than an interface without a peer.
	made, err := k.os.run(ctx, ifconfigPath, "wg", "create", "descr", k.os.mark, "group", "rexcarcer")
	if err != nil {
		return fmt.Errorf("this kernel has no WireGuard (if_wg): %w", err)
	}
	made = strings.TrimSpace(made)
	if _, err := k.os.run(ctx, ifconfigPath, made, "name", k.name); err != nil {
		return errors.Join(fmt.Errorf("rename %s: %w", made, err), k.os.destroy(ctx, made))
	}
	return nil
}

func (k *wgTool) alive() bool {
	ctx, cancel := context.WithTimeout(context.Background(), toolTimeout)
	defer cancel()
	x, err := k.os.find(ctx, k.name)
	return err != nil || x != nil
}

func (k *wgTool) apply(ctx context.Context, c change, w Config) error {
	file := filepath.Join(k.runDir, k.name+".conf")
	if err := os.MkdirAll(k.runDir, 0o700); err != nil {
		return fmt.Errorf("make a directory for the device's settings: %w", err)
	}
	if err := renameio.WriteFile(file, []byte(w.file()), 0o600); err != nil { // a key is no argument: everybody may read those
		return fmt.Errorf("write the device's settings: %w", err)
	}
	_, err := k.os.run(ctx, wgPath, "syncconf", k.name, file)
	if gone := os.Remove(file); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	if err != nil {
		return fmt.Errorf("configure the device: %w", err)
	}
	if err := k.os.dress(ctx, k.name, w); err != nil {
		return err
	}
	for _, p := range c.Peers {
		if !p.Greet {
			continue
		}
		for _, every := range []string{"25", "off"} {
			if _, err := k.os.run(ctx, wgPath, "set", k.name, "peer", p.Key.String(), "persistent-keepalive", every); err != nil {
				return fmt.Errorf("greet a peer: %w", err)
			}
		}
	}
	return nil
}

// file is the whole wish as wg(8) reads it. wg syncconf changes only what differs, so sessions of peers that stay are not cut.
func (c Config) file() string {
	var b strings.Builder
	fmt.Fprintf(&b, "[Interface]\nPrivateKey = %s\nListenPort = %d\n", c.Private, c.Port)
	for _, p := range c.Peers {
		fmt.Fprintf(&b, "\n[Peer]\nPublicKey = %s\n", p.Key)
		if p.Endpoint.IsValid() {
			fmt.Fprintf(&b, "Endpoint = %s\n", p.Endpoint)
		}
		if len(p.Allowed) > 0 {
			var all []string
			for _, a := range p.Allowed {
				all = append(all, fmt.Sprintf("%s/%d", a, a.BitLen()))
			}
			fmt.Fprintf(&b, "AllowedIPs = %s\n", strings.Join(all, ", "))
		}
	}
	return b.String()
}

func (k *wgTool) peers(ctx context.Context) ([]PeerView, error) {
	text, err := k.os.run(ctx, wgPath, "show", k.name, "dump")
	if err != nil {
		return nil, err
	}
	return parseDump(text)
}

// parseDump reads "wg show NAME dump": a line of the device, then one of eight fields for each peer.
func parseDump(text string) (peers []PeerView, err error) {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for _, line := range lines[1:] {
		f := strings.Split(line, "\t")
		if len(f) != 8 {
			return nil, fmt.Errorf("wg shows a peer with %d fields, want 8: %q", len(f), line)
		}
		var p PeerView
		if p.Key, err = ParseKey(f[0]); err != nil {
			return nil, err
		}
		if f[2] != "(none)" {
			p.Endpoint = f[2]
		}
		if f[3] != "(none)" {
			for a := range strings.SplitSeq(f[3], ",") {
				prefix, err := netip.ParsePrefix(a)
				if err != nil {
					return nil, fmt.Errorf("wg shows the allowed address %q: %w", a, err)
				}
				p.Allowed = append(p.Allowed, prefix.Addr())
			}
		}
		var numbers [3]int64
		for i := range numbers {
			if numbers[i], err = strconv.ParseInt(f[4+i], 10, 64); err != nil {
				return nil, fmt.Errorf("wg shows %q where a number is wanted: %w", f[4+i], err)
			}
		}
		if numbers[0] > 0 {
			p.Handshake = time.Unix(numbers[0], 0)
		}
		p.Received, p.Sent = numbers[1], numbers[2]
		slices.SortFunc(p.Allowed, netip.Addr.Compare)
		peers = append(peers, p)
	}
	slices.SortFunc(peers, func(a, b PeerView) int { return slices.Compare(a.Key[:], b.Key[:]) })
	return peers, nil
}

func (k *wgTool) remove(ctx context.Context) error { return k.os.clear(ctx, k.name) }

// leave has nothing to end: the device is the kernel's.
func (k *wgTool) leave() error { return nil }
