package netd

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// AnchorLines are the lines that the host's /etc/pf.conf needs for NAT and published ports, the first two among its
// translations, the last one among its filters. They are for the admin: nothing of ours edits that file.
const AnchorLines = `nat-anchor "rexcarcer/*"
rdr-anchor "rexcarcer/*"
anchor "rexcarcer/*"
`

// anchor names an anchor of ours on the host. It can only be had from newAnchor: pfctl with an empty anchor would act on
// the rules of the host.
type anchor struct{ name string }

const anchorRoot = "rexcarcer"

func newAnchor(instance, netID string) (anchor, error) {
	if !instancePattern.MatchString(instance) || !idPattern.MatchString(netID) {
		return anchor{}, fmt.Errorf("instance %q and network %q name no anchor", instance, netID)
	}
	return anchor{anchorRoot + "/" + instance + "-" + netID}, nil
}

// pfTarget is where rules live: an anchor of the host, or the pf of a router's own network.
type pfTarget struct {
	anchor anchor
	holder string
}

func (t pfTarget) String() string {
	if t.holder != "" {
		return "router jail " + t.holder
	}
	return "anchor " + t.anchor.name
}

// pfctl runs pfctl(8) on a target. Its messages go to standard error.
func (d *freebsd) pfctl(ctx context.Context, t pfTarget, stdin string, args ...string) (string, error) {
	argv := []string{pfctlPath}
	switch {
	case t.holder != "":
		argv = []string{jexecPath, t.holder, pfctlPath}
	case t.anchor.name == "":
		return "", fmt.Errorf("pfctl %s: no anchor", strings.Join(args, " "))
	default:
		argv = append(argv, "-a", t.anchor.name)
	}
	c := run.Cmd{Argv: append(argv, args...), Timeout: toolTimeout}
	if stdin != "" {
		c.Stdin = strings.NewReader(stdin)
	}
	return d.start(ctx, c)
}

// load makes the rules at a target exactly text: nothing when they were loaded before, the tables alone when only members
// changed, the whole otherwise. Connections to members that are gone are cut.
func (d *freebsd) load(ctx context.Context, t pfTarget, text pfText) error {
	old, known := d.applied[t.String()]
	if known && old.Options == text.Options && old.Rules == text.Rules {
		for _, table := range text.Tables {
			if i := slices.IndexFunc(old.Tables, func(o pfTable) bool { return o.Name == table.Name }); i >= 0 && slices.Equal(old.Tables[i].Addrs, table.Addrs) {
				continue
			}
			args := []string{"-t", table.Name, "-T", "replace"}
			for _, a := range table.Addrs {
				args = append(args, a.String())
			}
			if _, err := d.pfctl(ctx, t, "", args...); err != nil {
				delete(d.applied, t.String()) // what is there is not known any more
				return fmt.Errorf("replace members of table %s in %v: %w", table.Name, t, err)
			}
		}
	} else {
		delete(d.applied, t.String())
		if err := d.loadAll(ctx, t, text.String()); err != nil {
			return err
		}
	}
	d.applied[t.String()] = text
	return d.cut(ctx, t, gone(old.Tables, text.Tables))
}

func (d *freebsd) loadAll(ctx context.Context, t pfTarget, text string) error {
	_, err := d.pfctl(ctx, t, text, "-f", "-")
	if err != nil && !onlyFingerprints(err) {
		return fmt.Errorf("load pf rules into %v: %w", t, err)
	}
	if t.holder == "" {
		return nil // the host's pf is switched on by its admin
	}
	if _, err := d.pfctl(ctx, t, "", "-e"); err != nil && !said(err, "pf already enabled") {
		return fmt.Errorf("switch pf on in %v: %w", t, err)
	}
	return nil
}

// onlyFingerprints: without /etc/pf.os pfctl ends with 1, although it has loaded the rules.
func onlyFingerprints(err error) bool {
	e, ok := asRunError(err)
	if !ok || e.Stderr == "" {
		return false
	}
	for l := range strings.Lines(e.Stderr) {
		if !strings.HasPrefix(l, "pfctl: /etc/pf.os: ") {
			return false
		}
	}
	return true
}

// gone lists the members that are in no table any more.
func gone(old, now []pfTable) []netip.Addr {
	var out []netip.Addr
	for _, o := range old {
		for _, a := range o.Addrs {
			if !slices.ContainsFunc(now, func(n pfTable) bool { return n.Name == o.Name && slices.Contains(n.Addrs, a) }) {
				out = append(out, a)
			}
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}

// cut ends the connections to addresses: a table decides about new ones only.
func (d *freebsd) cut(ctx context.Context, t pfTarget, addrs []netip.Addr) error {
	for _, a := range addrs {
		if _, err := d.pfctl(ctx, t, "", "-k", "0.0.0.0/0", "-k", a.String()); err != nil {
			return fmt.Errorf("cut connections to %v in %v: %w", a, t, err)
		}
	}
	return nil
}

// flush empties the anchor of a network; one that never was is success.
func (d *freebsd) flush(ctx context.Context, netID string) error {
	a, err := newAnchor(d.o.Instance, netID)
	if err != nil {
		return err
	}
	t := pfTarget{anchor: a}
	delete(d.applied, t.String())
	_, err = d.pfctl(ctx, t, "", "-F", "all")
	if err != nil && !said(err, "Operation not supported by device") && !noPF(err) {
		return fmt.Errorf("flush %v: %w", t, err)
	}
	d.emptied[netID] = true
	return nil
}

// anchors lists the networks whose anchors this instance has filled. An anchor that was flushed stays listed.
func (d *freebsd) anchors(ctx context.Context) ([]string, error) {
	out, err := d.run(ctx, pfctlPath, "-a", anchorRoot, "-s", "Anchors")
	if err != nil {
		if said(err, "Anchor does not exist") || noPF(err) {
			return nil, nil
		}
		return nil, fmt.Errorf("list anchors: %w", err)
	}
	return parseAnchors(out, d.o.Instance), nil
}

// parseAnchors reads `pfctl -a rexcarcer -s Anchors`: one indented name a line.
func parseAnchors(out, instance string) []string {
	var ids []string
	for name := range strings.FieldsSeq(out) {
		if id, ok := strings.CutPrefix(name, anchorRoot+"/"+instance+"-"); ok && idPattern.MatchString(id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// noPF: the kernel has no pf, or its module is not loaded.
func noPF(err error) bool {
	return said(err, "/dev/pf: No such file or directory") || said(err, "/dev/pf: Device not configured") || run.NotFound(err)
}
