package spec

import (
	"fmt"
	"net/netip"
	"strings"
)

// checkNames refuses two things of one name where DNS or the host would mix
// them up: jails, host names, services of a network, routers.
func (c *checker) checkNames() {
	owner := make(map[string]*Jail, len(c.w.Jails))
	fqdn := make(map[string]*Jail)
	for i := range c.w.Jails {
		j := &c.w.Jails[i]
		if o := owner[j.Name]; o != nil {
			c.bad("jail/"+j.Group, "", "two jails are called %q: one of group %q and one of group %q", j.Name, o.Group, j.Group)
			continue
		}
		owner[j.Name] = j
	}
	for i := range c.w.Jails {
		j := &c.w.Jails[i]
		if j.Hostname != "" {
			if o := fqdn[j.Hostname]; o != nil && o != j {
				c.bad("jail/"+j.Group+"/hostname", `with count, put ${self.index} into it`, "jails %q and %q have the same hostname %q", o.Name, j.Name, j.Hostname)
			} else if o := owner[j.Hostname]; o != nil && o != j {
				c.bad("jail/"+j.Group+"/hostname", "", "jail %q has the hostname %q, which is the name of another jail", j.Name, j.Hostname)
			}
			fqdn[j.Hostname] = j
		}
		if n, ok := strings.CutSuffix(j.Name, "-router"); ok && c.networks[n] != nil {
			c.bad("jail/"+j.Group, "", "jail %q: the name is that of the router of network %q", j.Name, n)
		}
	}
	c.checkServiceNames(owner)
}

// checkServiceNames: in a network a service has one group, and does not
// shadow a jail that is no member of it (both are NAME.NETWORK.DOMAIN).
func (c *checker) checkServiceNames(owner map[string]*Jail) {
	type key struct{ network, service string }
	groups := make(map[key]string)
	for i := range c.w.Jails {
		j := &c.w.Jails[i]
		for _, s := range j.Services {
			for _, n := range j.NICs {
				path, k := "jail/"+j.Group+"/service/"+s.Name, key{n.Network, s.Name}
				if g, taken := groups[k]; taken && g != j.Group {
					c.bad(path, "call one of them differently", "service %q of network %q is offered by jail %q and by jail %q", s.Name, n.Network, g, j.Group)
				}
				groups[k] = j.Group
				if o := owner[s.Name]; o != nil && o.Group != j.Group && o.inNetwork(n.Network) {
					c.bad(path, "", "service %q of jail %q has the name of jail %q, which does not offer it", s.Name, j.Group, o.Name)
				}
			}
		}
	}
}

func (j *Jail) inNetwork(name string) bool {
	for _, n := range j.NICs {
		if n.Network == name {
			return true
		}
	}
	return false
}

// checkAddresses: fixed addresses fit their subnet and are used once, and
// what is left is enough for the jails that lease theirs.
func (c *checker) checkAddresses() {
	taken := make(map[netip.Addr]string)
	used := make(map[string]int64)
	for i := range c.w.Jails {
		j := &c.w.Jails[i]
		for k, nic := range j.NICs {
			n := c.networks[nic.Network]
			if n == nil {
				continue // fsm knows whether the cluster has it
			}
			c.fixed(taken, n, j, nic.Addr, k, "address")
			c.fixed(taken, n, j, nic.Addr6, k, "address6")
			used[n.Name]++
		}
	}
	for i := range c.w.Networks {
		n := &c.w.Networks[i]
		if used[n.Name] > n.PoolSize() {
			c.bad("network/"+n.Name+"/subnet", "take a wider subnet or fewer jails",
				"network %q: pool exhausted: %s has room for %d jails, %d are wished", n.Name, n.Subnet, n.PoolSize(), used[n.Name])
		}
	}
}

func (c *checker) fixed(taken map[netip.Addr]string, n *Network, j *Jail, a netip.Addr, nic int, field string) {
	if !a.IsValid() {
		return
	}
	path := fmt.Sprintf("jail/%s/nic/%d/%s", j.Group, nic, field)
	if err := n.Assignable(a); err != nil {
		c.bad(path, "", "jail %q: %v", j.Name, err)
		return
	}
	if o, dup := taken[a]; dup {
		c.bad(path, `with count use address = "dhcp", or cidrhost() with self.index`, "jail %q: the address %s is already that of jail %q", j.Name, a, o)
		return
	}
	taken[a] = j.Name
}

// checkDepends: depends_on names groups of this Wish, without a circle.
func (c *checker) checkDepends() {
	var names []string
	for i := range c.w.Jails {
		j := &c.w.Jails[i]
		if c.groups[j.Group] == j {
			names = append(names, j.Group)
		}
		for _, d := range j.Depends {
			path := "jail/" + j.Group + "/depends_on"
			switch {
			case d == j.Group:
				c.bad(path, "", "jail %q depends on itself", j.Group)
			case c.groups[d] == nil:
				c.bad(path, suggest(d, c.groupNames()), "jail %q depends on %q, which is not a jail of this file", j.Group, clip(d))
			}
		}
	}
	if c.full() || len(c.problems) > 0 {
		return
	}
	next := func(g string) []string { return c.groups[g].Depends }
	if cycle := findCycle(names, next); cycle != nil {
		c.bad("jail/"+cycle[0]+"/depends_on", "one of them must be able to start without the next",
			"depends_on goes in a circle: %s", joinArrows(cycle))
	}
}

func (c *checker) groupNames() []string {
	names := make([]string, 0, len(c.groups))
	for g := range c.groups {
		names = append(names, g)
	}
	return names
}
