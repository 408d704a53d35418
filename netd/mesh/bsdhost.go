package mesh

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// bsdHost is a host of FreeBSD, by ifconfig(8).
type bsdHost struct {
	runner run.Runner
	mark   string // description of our interface, as netd's
}

const (
	ifconfigPath = "/sbin/ifconfig"
	toolTimeout  = 30 * time.Second
)

func (h bsdHost) run(ctx context.Context, argv ...string) (string, error) {
	res, err := h.runner.Run(ctx, run.Cmd{Argv: argv, Timeout: toolTimeout})
	return string(res.Stdout), err
}

func (h bsdHost) within(fn func() error) error { return fn() }

// bsdLink is what ifconfig prints of an interface.
type bsdLink struct {
	descr  string
	groups []string
	addrs  []netip.Prefix
	mtu    int
	up     bool
}

// find returns our interface, nil if there is none.
func (h bsdHost) find(ctx context.Context, name string) (*bsdLink, error) {
	names, err := h.run(ctx, ifconfigPath, "-l")
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	if !slices.Contains(strings.Fields(names), name) {
		return nil, nil
	}
	text, err := h.run(ctx, ifconfigPath, name)
	if err != nil {
		return nil, fmt.Errorf("look at interface %s: %w", name, err)
	}
	x := parseLink(text)
	tunnel := slices.Contains(x.groups, "wg") || slices.Contains(x.groups, "tun")
	if x.descr != h.mark && (x.descr != "" || !tunnel) {
		return nil, fmt.Errorf("interface %s exists and is not ours (description %q): destroy it", name, x.descr)
	}
	return x, nil
}

func parseLink(text string) *bsdLink {
	x := &bsdLink{}
	for i, line := range strings.Split(text, "\n") {
		f := strings.Fields(line)
		switch {
		case len(f) == 0:
		case i == 0:
			x.up = strings.Contains(line, "<UP,") || strings.Contains(line, "<UP>")
			if at := slices.Index(f, "mtu"); at >= 0 && at+1 < len(f) {
				x.mtu, _ = strconv.Atoi(f[at+1])
			}
		case f[0] == "description:":
			_, x.descr, _ = strings.Cut(line, "description: ")
		case f[0] == "groups:":
			x.groups = f[1:]
		case (f[0] == "inet" || f[0] == "inet6") && len(f) > 1:
			if p, ok := parseInet(f); ok {
				x.addrs = append(x.addrs, p)
			}
		}
	}
	return x
}

// parseInet reads an address line: "inet A netmask 0xffff8000 ..." or "inet6 A prefixlen N".
func parseInet(f []string) (netip.Prefix, bool) {
	a, err := netip.ParseAddr(f[1])
	if err != nil {
		p, err := netip.ParsePrefix(f[1])
		return p, err == nil
	}
	for i := 2; i+1 < len(f); i++ {
		switch f[i] {
		case "netmask":
			mask, err := strconv.ParseUint(strings.TrimPrefix(f[i+1], "0x"), 16, 32)
			bits := 0
			for ; mask&(1<<31) != 0; mask = mask << 1 & 0xffffffff {
				bits++
			}
			return netip.PrefixFrom(a, bits), err == nil
		case "prefixlen":
			bits, err := strconv.Atoi(f[i+1])
			return netip.PrefixFrom(a, bits), err == nil
		}
	}
	return netip.PrefixFrom(a, a.BitLen()), true
}

func (h bsdHost) destroy(ctx context.Context, name string) error {
	if _, err := h.run(ctx, ifconfigPath, name, "destroy"); err != nil {
		return fmt.Errorf("remove interface %s: %w", name, err)
	}
	return nil
}

func (h bsdHost) clear(ctx context.Context, name string) error {
	x, err := h.find(ctx, name)
	if err != nil || x == nil {
		return err
	}
	return h.destroy(ctx, name)
}

func (h bsdHost) dress(ctx context.Context, name string, w Config) error {
	x, err := h.find(ctx, name)
	if err != nil {
		return err
	}
	if x == nil {
		return fmt.Errorf("interface %s is gone", name)
	}
	for _, argv := range h.corrections(x, name, w) {
		if _, err := h.run(ctx, argv...); err != nil {
			return fmt.Errorf("set up %s: %w", name, err)
		}
	}
	return nil
}

// corrections are the commands that make x what w wants; none if it is so.
func (h bsdHost) corrections(x *bsdLink, name string, w Config) (out [][]string) {
	if x.descr != h.mark {
		out = append(out, []string{ifconfigPath, name, "descr", h.mark, "group", "rexcarcer"})
	}
	family := func(p netip.Prefix) string {
		if p.Addr().Is6() {
			return "inet6"
		}
		return "inet"
	}
	for _, p := range x.addrs {
		if !slices.Contains(w.Addrs, p) && !p.Addr().IsLinkLocalUnicast() {
			out = append(out, []string{ifconfigPath, name, family(p), p.Addr().String(), "-alias"})
		}
	}
	for _, p := range w.Addrs {
		if !slices.Contains(x.addrs, p) {
			out = append(out, []string{ifconfigPath, name, family(p), p.String(), "alias"})
		}
	}
	if x.mtu != w.MTU || !x.up {
		out = append(out, []string{ifconfigPath, name, "mtu", strconv.Itoa(w.MTU), "up"})
	}
	return out
}
