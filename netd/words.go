package netd

import (
	"fmt"
	"net/netip"
	"strings"
)

// Rule is one rule of a network in words: what `rexctl network rules` shows. It is made together with the line that the
// kernel reads, so neither can say what the other does not.
type Rule struct {
	Where string `json:"where"` // "bridge", "router" or "host"
	From  string `json:"from"`
	To    string `json:"to"`
	What  string `json:"what"`
	Then  string `json:"then"`
	Why   string `json:"why"`
}

const (
	atBridge = "bridge"
	atRouter = "router"
	atHost   = "host"

	passes  = "passes"
	refused = "is refused"
	dropped = "is dropped"
	any4    = "anything"
	outside = "outside"
)

// line is one rule for the kernel, with its words. Without words it is plumbing that decides nothing about who reaches whom.
type line struct {
	nft  string
	says Rule
}

// texts are the lines for the kernel.
func texts(lines []line) []string {
	var out []string
	for _, l := range lines {
		out = append(out, l.nft)
	}
	return out
}

// words are the rules of lines that say something, each once: what is told to the kernel for IPv4 and IPv6 reads the same.
func words(lines []line) []Rule {
	var out []Rule
	seen := map[Rule]bool{}
	for _, l := range lines {
		if l.says != (Rule{}) && !seen[l.says] {
			out = append(out, l.says)
			seen[l.says] = true
		}
	}
	return out
}

// rulesOf are the rules of one network in the order in which a packet meets them. all are the networks of the host.
func rulesOf(n plannedNetwork, all []plannedNetwork) []Rule {
	var lines []line
	for _, c := range guardChains(all) {
		lines = append(lines, c.lines...)
	}
	lines = append(lines, hostPublish([]plannedNetwork{n})...)
	for _, c := range routerChains(n) {
		lines = append(lines, c.lines...)
	}
	return words(append(lines, hostLines(n)...))
}

// hostLines are what the rules of the host mean for one network: they hold for all networks by the sets in which its
// interfaces are, so their words are made here and not with each of them.
func hostLines(n plannedNetwork) []line {
	say := func(from, to, what, then, why string) line {
		return line{says: Rule{atHost, from, to, what, then, why}}
	}
	out := []line{
		say("jails", "this host", "echo requests", passes, "so that a jail can see its host"),
		say("this host", "jails", any4, passes, "health checks, and who works on the host"),
	}
	if n.NAT {
		out = append(out, say("jails", "services of this host, and "+outside, any4, passes, "nat"))
	} else {
		out = append(out, say("jails", "this host, and "+outside, any4, refused, "no nat"))
	}
	if n.Mesh != nil {
		out = append(out, say("jails of this network on other hosts", "jails", any4, passes, "one network on all hosts, over "+n.Mesh.Device))
	}
	return append(out, say(outside+", other networks", "jails", any4, refused, "only published ports and allow lead in"))
}

func subnets(a, b netip.Prefix) string {
	if b.IsValid() {
		return fmt.Sprintf("%s, %s", a, b)
	}
	return a.String()
}

func memberText(p Publish) string {
	var all []string
	for _, m := range p.Members {
		all = append(all, m.String())
	}
	for _, m := range p.Members6 {
		all = append(all, m.String())
	}
	if len(all) == 0 {
		return "nobody"
	}
	return strings.Join(all, ", ")
}
