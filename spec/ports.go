package spec

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// PortRange is some ports of one protocol.
type PortRange struct {
	First, Last uint16 // 1..65535, First <= Last
	Proto       string // "tcp" or "udp"
}

// ParsePorts reads "443/tcp" or "8000-8100/udp".
func ParsePorts(text string) (PortRange, error) {
	ports, proto, _ := strings.Cut(text, "/")
	if proto != "tcp" && proto != "udp" {
		return PortRange{}, fmt.Errorf("%q is not PORT/tcp, PORT/udp or PORT-PORT/tcp", clip(text))
	}
	low, high, isRange := strings.Cut(ports, "-")
	if !isRange {
		high = low
	}
	first, err := strconv.ParseUint(low, 10, 16)
	last, err2 := strconv.ParseUint(high, 10, 16)
	if err != nil || err2 != nil || first == 0 || last < first {
		return PortRange{}, fmt.Errorf("%q: ports are numbers from 1 to 65535, the lower one first", clip(text))
	}
	return PortRange{uint16(first), uint16(last), proto}, nil
}

// String is the form that ParsePorts reads.
func (p PortRange) String() string {
	if p.First == p.Last {
		return fmt.Sprintf("%d/%s", p.First, p.Proto)
	}
	return fmt.Sprintf("%d-%d/%s", p.First, p.Last, p.Proto)
}

// maxOpenPorts bounds one allow block: each entry is a rule in the kernel.
const maxOpenPorts = 256

func (c *checker) checkOpen(n *Network, path, what string) {
	seen := make(map[string]bool)
	for _, o := range n.Open {
		path, what := path+"/allow/"+o.From, fmt.Sprintf("%s: allow %q", what, clip(o.From))
		c.err(path, what, ValidName(o.From))
		switch {
		case o.From == n.Name:
			c.bad(path, "jails of one network always reach each other", "%s names the network itself", what)
		case seen[o.From]:
			c.bad(path, "name all ports in one block", "%s is there twice", what)
		case slices.Contains(n.Allow, o.From):
			c.bad(path, "leave one of them out", "%s: the list allow has this network already, with all ports", what)
		}
		seen[o.From] = true
		if len(o.Ports) == 0 || len(o.Ports) > maxOpenPorts {
			c.bad(path+"/ports", `ports = ["443/tcp"]`, "%s: 1 to %d ports, not %d", what, maxOpenPorts, len(o.Ports))
		}
		for _, p := range o.Ports {
			if _, err := ParsePorts(p); err != nil {
				c.bad(path+"/ports", `ports = ["443/tcp", "8000-8100/udp"]`, "%s: %v", what, err)
			}
		}
	}
}
