package netd

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// hostPF is what the host offers for NAT and published ports. All of it belongs to the admin and is only read.
type hostPF struct {
	Present  bool     // pf is in the kernel
	Enabled  bool     // pf is switched on
	Missing  []string // lines of AnchorLines that its rules lack
	Forwards bool     // net.inet.ip.forwarding
	Bridged  bool     // pf sees the frames of bridges
	Outside  string   // interface of the default route; "" when there is none
}

var outsidePattern = regexp.MustCompile(`^[a-z][a-z0-9_.]{0,14}$`)

// readHost asks the host.
func (d *freebsd) readHost(ctx context.Context, routes []route) (hostPF, error) {
	var h hostPF
	for _, r := range routes {
		if r.Dst.Bits() == 0 && r.Dst.Addr().Is4() && outsidePattern.MatchString(r.Dev) && h.Outside == "" {
			h.Outside = r.Dev
		}
	}
	forwards, err := d.sysctl(ctx, "net.inet.ip.forwarding")
	if err != nil {
		return h, fmt.Errorf("read net.inet.ip.forwarding: %w", err)
	}
	h.Forwards = forwards == "1"
	for _, name := range []string{"net.link.bridge.pfil_bridge", "net.link.bridge.pfil_member"} {
		// Unknown before the first bridge is made, where it is a module: 1 is what older ones begin with.
		v, err := d.sysctl(ctx, name)
		h.Bridged = h.Bridged || err != nil || v != "0"
	}
	info, err := d.run(ctx, pfctlPath, "-s", "info")
	if noPF(err) {
		return h, nil
	}
	if err != nil {
		return h, fmt.Errorf("read the state of pf: %w", err)
	}
	h.Present = true
	h.Enabled = strings.HasPrefix(info, "Status: Enabled")
	var rules strings.Builder
	for _, what := range []string{"-sn", "-sr"} {
		out, err := d.run(ctx, pfctlPath, what)
		if err != nil {
			return h, fmt.Errorf("read the rules of pf: %w", err)
		}
		rules.WriteString(out)
	}
	h.Missing = missingAnchors(rules.String())
	return h, nil
}

// missingAnchors compares what `pfctl -sn` and `pfctl -sr` print with AnchorLines. Older ones show the wildcard as "/*".
func missingAnchors(rules string) []string {
	var missing []string
	for want := range strings.Lines(AnchorLines) {
		want = strings.TrimSpace(want)
		kind, _, _ := strings.Cut(want, " ")
		found := false
		for l := range strings.Lines(rules) {
			l = strings.TrimSpace(l)
			found = found || strings.HasPrefix(l, want) || strings.HasPrefix(l, kind+` "/*"`)
		}
		if !found {
			missing = append(missing, want)
		}
	}
	return missing
}

// limits says in words what does not work, and how the admin gets it.
func (h hostPF) limits() []string {
	var out []string
	if !h.Present {
		return []string{"pf is not in this kernel and its module is not loaded: jails have no NAT, networks no rules between them, and " +
			`other machines no published ports; run "kldload pf" and put pf_load="YES" into /boot/loader.conf`}
	}
	if !h.Enabled {
		out = append(out, `pf is switched off on this host: no NAT, and no published ports for other machines; run "sysrc pf_enable=YES" and "service pf start"`)
	}
	if len(h.Missing) > 0 {
		out = append(out, "the rules of pf on this host lack our anchors: no NAT, and no published ports for other machines; put into /etc/pf.conf, "+
			"the nat and rdr lines among the translations, the last among the filters, and run \"service pf reload\": "+strings.Join(h.Missing, "; "))
	}
	if !h.Forwards {
		out = append(out, `this host forwards no packets: no NAT, and no published ports for other machines; run "sysrc gateway_enable=YES" and "service routing restart"`)
	}
	if h.Bridged && h.Enabled && len(h.Missing) == 0 {
		out = append(out, "pf sees what bridges carry: networks are kept apart by their routers alone; "+
			`put net.link.bridge.pfil_bridge=0 and net.link.bridge.pfil_member=0 into /etc/sysctl.conf and run "service sysctl restart"`)
	}
	if h.Outside == "" {
		out = append(out, "this host has no default route: jails reach nothing outside")
	}
	return out
}

// tell logs the limits that matter to a network of plan, once for as long as they are the same.
func (d *freebsd) tell(h hostPF, plan []plannedNetwork) {
	if !slices.ContainsFunc(plan, func(n plannedNetwork) bool { return n.NAT || len(n.Publish) > 0 }) {
		return
	}
	limits := h.limits()
	if text := strings.Join(limits, "\n"); text != d.told {
		for _, l := range limits {
			d.o.Log.Warn("networks are limited", "because", l)
		}
		d.told = text
	}
}

// routes reads the host's routing table.
func (d *freebsd) routes(ctx context.Context, v6 bool) ([]route, error) {
	out, err := d.run(ctx, netstatPath, "-rnW", "-f", "inet")
	if err == nil && v6 {
		var six string
		six, err = d.run(ctx, netstatPath, "-rnW", "-f", "inet6")
		out += six
	}
	if run.NotFound(err) {
		d.o.Log.Warn("there is no netstat on this host: overlapping subnets are not seen, and the way outside is not known")
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read routes: %w", err)
	}
	return parseRoutes(out), nil
}

func asRunError(err error) (*run.Error, bool) { return errors.AsType[*run.Error](err) }
