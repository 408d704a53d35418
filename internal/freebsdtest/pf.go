package freebsdtest

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// PF is the packet filter of one network: the host's, or that of a jail.
type PF struct {
	Enabled bool
	Main    *PFRules
	Anchors map[string]*PFRules // by full name; those that are empty stay listed: seen
	Killed  []string            // -k, in order
}

// PFRules is one ruleset as it was loaded, and its tables as they are now.
type PFRules struct {
	Text   string
	Tables map[string][]string
}

type pfState struct {
	vnets map[int]*PF
	gone  bool // no pf in the kernel
	noOS  bool // no /etc/pf.os
}

func newPF() pfState { return pfState{vnets: map[int]*PF{}} }

func (n *Net) filter(vnet int) *PF {
	p := n.pf.vnets[vnet]
	if p == nil {
		p = &PF{Main: &PFRules{}, Anchors: map[string]*PFRules{}}
		n.pf.vnets[vnet] = p
	}
	return p
}

// NoPF takes pf out of the kernel.
func (n *Net) NoPF() { n.pf.gone = true }

// NoFingerprints takes /etc/pf.os away.
func (n *Net) NoFingerprints() { n.pf.noOS = true }

// HostRules loads the admin's own ruleset and switches pf on.
func (n *Net) HostRules(text string) {
	n.h.mu.Lock()
	defer n.h.mu.Unlock()
	p := n.filter(0)
	p.Enabled, p.Main.Text = true, text
}

// PF looks at the filter of a jail's network, "" being the host's.
func (n *Net) PF(jail string) *PF {
	n.h.mu.Lock()
	defer n.h.mu.Unlock()
	vnet := 0
	if jail != "" {
		vnet, _ = n.owner(jail)
	}
	return n.filter(vnet)
}

func (n *Net) showPF() string {
	var b strings.Builder
	name := map[int]string{0: "host"}
	for _, j := range n.h.jails {
		name[j.JID] = j.Name
	}
	for _, vnet := range slices.Sorted(maps.Keys(n.pf.vnets)) {
		p := n.pf.vnets[vnet]
		show := func(what string, r *PFRules) {
			if r.Text == "" && len(r.Tables) == 0 {
				return
			}
			fmt.Fprintf(&b, "%s %s enabled=%v\n%s", name[vnet], what, p.Enabled, r.Text)
			for _, t := range slices.Sorted(maps.Keys(r.Tables)) {
				fmt.Fprintf(&b, "%s: %s\n", t, strings.Join(r.Tables[t], " "))
			}
		}
		show("main", p.Main)
		for _, a := range slices.Sorted(maps.Keys(p.Anchors)) {
			show(a, p.Anchors[a])
		}
	}
	return b.String()
}

// pfctl is pfctl(8): [-a ANCHOR] with -s info, -e, -d, [-P] -sn, [-P] -sr, -s Anchors, -f -, -t T -T replace, -k A -k B and
// -F all.
func (n *Net) pfctl(_ *Host, c run.Cmd, args []string) Reply {
	vnet, args, r := n.enter("pfctl", args)
	if r.RC != 0 {
		return r
	}
	if n.pf.gone {
		return Fail(1, "pfctl: /dev/pf: No such file or directory")
	}
	p := n.filter(vnet)
	anchor := ""
	if len(args) > 1 && args[0] == "-a" {
		anchor, args = args[1], args[2:]
		if anchor == "" {
			n.Panics = append(n.Panics, "pfctl was given an empty anchor")
		}
		if strings.HasPrefix(anchor, "_") {
			return Fail(1, "pfctl: anchor names beginning with '_' cannot be modified from the command line")
		}
	}
	if len(args) > 0 && args[0] == "-P" {
		args = args[1:]
	}
	switch all := strings.Join(args, " "); {
	case all == "-s info":
		state := "Disabled"
		if p.Enabled {
			state = "Enabled"
		}
		return Reply{Out: "Status: " + state + " for 0 days 00:00:02          Debug: Urgent\n\nState Table                          Total             Rate\n"}
	case all == "-e" && p.Enabled:
		return Fail(1, "pfctl: pf already enabled")
	case all == "-e":
		p.Enabled = true
		return Reply{Err: "pf enabled\n"}
	case all == "-sn", all == "-sr":
		return p.show(anchor, args[0])
	case all == "-s Anchors":
		return p.list(anchor)
	case all == "-f -":
		return n.load(p, anchor, c)
	case len(args) >= 4 && args[0] == "-t" && args[2] == "-T" && args[3] == "replace":
		return p.replace(anchor, args[1], args[4:])
	case len(args) == 4 && args[0] == "-k" && args[2] == "-k":
		p.Killed = append(p.Killed, args[1]+" "+args[3])
		return Reply{Err: "killed 0 states from 1 sources and 1 destinations\n"}
	case all == "-F all":
		return p.flush(anchor)
	}
	return Fail(1, "freebsdtest: pfctl %s: not modelled", strings.Join(args, " "))
}

func (p *PF) rules(anchor string) *PFRules {
	if anchor == "" {
		return p.Main
	}
	return p.Anchors[anchor]
}

// show prints the lines of one kind as they were loaded; the real one rewrites them.
func (p *PF) show(anchor, what string) Reply {
	r := p.rules(anchor)
	if r == nil {
		return Reply{Err: "pfctl: Anchor does not exist.\n"}
	}
	var b strings.Builder
	for l := range strings.Lines(r.Text) {
		word, _, _ := strings.Cut(l, " ")
		translation := strings.HasPrefix(word, "nat") || strings.HasPrefix(word, "rdr")
		filter := word == "pass" || word == "block" || word == "anchor"
		if what == "-sn" && translation || what == "-sr" && filter {
			b.WriteString(l)
		}
	}
	return Reply{Out: b.String()}
}

func (p *PF) list(anchor string) Reply {
	var b strings.Builder
	for _, a := range slices.Sorted(maps.Keys(p.Anchors)) {
		if strings.HasPrefix(a, anchor+"/") {
			b.WriteString("  " + a + "\n")
		}
	}
	if b.Len() == 0 {
		return Fail(1, "pfctl: Anchor does not exist.")
	}
	return Reply{Out: b.String()}
}

func (n *Net) load(p *PF, anchor string, c run.Cmd) Reply {
	text := ""
	if c.Stdin != nil {
		raw, err := io.ReadAll(c.Stdin)
		if err != nil {
			return Fail(1, "pfctl: stdin: %v", err)
		}
		text = string(raw)
	}
	tables, err := CheckPF(text)
	if err != nil {
		return Fail(1, "%v", err)
	}
	r := &PFRules{Text: text, Tables: tables}
	if anchor == "" {
		p.Main = r
	} else {
		p.Anchors[anchor] = r
	}
	if n.pf.noOS {
		return Fail(1, "pfctl: /etc/pf.os: No such file or directory") // but they ARE loaded: seen
	}
	return Reply{}
}

func (p *PF) replace(anchor, table string, addrs []string) Reply {
	r := p.rules(anchor)
	if r == nil || r.Tables[table] == nil {
		return Fail(255, "pfctl: Table does not exist.")
	}
	r.Tables[table] = append([]string{}, addrs...)
	return Reply{Err: fmt.Sprintf("%d addresses added.\n", len(addrs))}
}

func (p *PF) flush(anchor string) Reply {
	const said = "Ethernet rules cleared\nrules cleared\nnat cleared\n"
	if anchor == "" {
		*p = PF{Enabled: p.Enabled, Main: &PFRules{}, Anchors: map[string]*PFRules{}}
		return Reply{Err: said}
	}
	if p.Anchors[anchor] == nil {
		return Reply{RC: 1, Err: said + "pfctl: Operation not supported by device\n"}
	}
	p.Anchors[anchor] = &PFRules{}
	return Reply{Err: said + "0 tables deleted.\nrules cleared\n"}
}
