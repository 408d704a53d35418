package spec

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// iniNetwork is one [network:NAME].
type iniNetwork struct {
	name    string
	at      span
	kind    string // bridge, nat or none
	addr    netip.Addr
	subnet  netip.Prefix
	publish []iniPublish
	ours    bool // this file declares it
}

type iniPublish struct {
	host, jail uint16
	at         span
}

type iniVolume struct {
	name, path, source string
	writable           bool
	at                 span
}

type iniLimit struct {
	name, value string
	at          span
}

// convert writes the cluster file: networks first.
func (c *iniConverter) convert() {
	sup := c.section("vessel-supervisor")
	for _, s := range c.sections {
		switch s.kind.text {
		case "network":
			c.network(s, sup != nil)
		case "dataset":
			c.dataset(s)
		case "nullfs":
			c.nullfs(s)
		case "resource":
			c.resource(s)
		case "cpuset":
			if v, ok := s.get("list"); ok {
				c.limits = append(c.limits, iniLimit{"cpuset", quoteHCL(strings.ReplaceAll(v.text, " ", "")), v.sp})
			}
		case "jail":
			c.jailKeys(s)
		}
	}
	c.checkWhole(sup)
	if c.diags.HasErrors() {
		return
	}
	c.line("cluster %s {", quoteHCL(c.name))
	c.line("}")
	for _, n := range c.nets {
		if n.ours {
			c.writeNetwork(n)
		}
	}
	if sup != nil {
		c.writeJail(sup)
	}
}

// checkWhole refuses what no section is wrong about by itself.
func (c *iniConverter) checkWhole(sup *iniSection) {
	if sup == nil {
		for _, s := range c.sections {
			if s.kind.text != "network" {
				c.fail(s.head, "add [vessel-supervisor] with image=...", "the file has [%s] and no [vessel-supervisor]: only network sections may stand alone", s.kind.text)
			}
		}
		if len(c.sections) == 0 {
			c.fail(span{}, "begin with [vessel-supervisor]", "the file has no section")
		}
		return
	}
	if v, ok := sup.get("image"); !ok || v.text == "" {
		c.fail(sup.head, "add image=...", "[vessel-supervisor] has no image")
	}
	if none := slices.IndexFunc(c.nets, func(n iniNetwork) bool { return n.kind == "none" }); none >= 0 && len(c.nets) > 1 {
		c.fail(c.nets[none].at, "", "a network of type none does not go with others")
	}
}

// network reads one [network:NAME]. It is this file's, unless the cluster has it from another.
func (c *iniConverter) network(s *iniSection, joins bool) {
	n := iniNetwork{name: s.label.text, at: s.head, kind: "nat", ours: true}
	if v, ok := s.get("type"); ok {
		switch n.kind = v.text; v.text {
		case "bridge", "nat", "none":
		case "external", "inherit":
			c.fail(v.sp, "nat or bridge, and publish=HOST:JAIL for what shall be reached from outside", "type=%s: jails are not put on the host's own network", v.text)
		default:
			c.fail(v.sp, suggest(v.text, []string{"bridge", "nat", "external", "inherit", "none"}), "unknown type %q", clip(v.text))
		}
	}
	for _, known := range c.in.Networks {
		if known.Name == n.name && known.Wish != c.name {
			n.ours, n.subnet = false, known.Subnet
		}
	}
	c.subnetOf(s, &n, joins)
	if v, ok := s.get("dns"); ok {
		c.warn(v.sp, "", "dns is not used: the network's router answers for the cluster and asks the host's resolver for the rest")
	}
	if v, ok := s.get("publish"); ok {
		c.publish(v, &n, joins)
	}
	c.nets = append(c.nets, n)
}

func (c *iniConverter) subnetOf(s *iniSection, n *iniNetwork, joins bool) {
	said := iniWord{}
	if v, ok := s.get("subnet"); ok {
		said = v
	}
	if v, ok := s.get("address"); ok && v.text != "dhcp" {
		p, err := netip.ParsePrefix(v.text)
		switch {
		case err != nil:
			c.fail(v.sp, "dhcp, or an address with its length as 10.1.2.3/24", "address=%q: %v", clip(v.text), err)
			return
		case joins && p.Addr() != p.Masked().Addr():
			n.addr = p.Addr()
		}
		if said.text == "" {
			said = iniWord{p.Masked().String(), v.sp}
		}
	}
	if said.text != "" {
		p, err := netip.ParsePrefix(said.text)
		if err != nil {
			c.fail(said.sp, "as in subnet=10.1.2.0/24", "subnet=%q: %v", clip(said.text), err)
			return
		}
		if p = p.Masked(); !n.ours && p != n.subnet {
			c.fail(said.sp, "", "network %q has the subnet %s in this cluster, not %s", n.name, n.subnet, p)
		}
		n.subnet = p
	}
	if !n.subnet.IsValid() && n.kind != "none" {
		n.subnet = FreeSubnet(n.name, c.in.Networks)
		for _, known := range c.in.Networks {
			if known.Name == n.name && known.Wish == c.name {
				n.subnet = known.Subnet // a second apply changes nothing
			}
		}
	}
	if v, ok := s.get("gateway"); ok {
		if g := n.subnet.Addr().Next(); v.text != g.String() {
			c.fail(v.sp, "leave it out", "gateway=%q: the gateway of %s is %s, its first address", clip(v.text), n.subnet, g)
		}
	}
}

// publish reads HOST:JAIL, comma list.
func (c *iniConverter) publish(v iniWord, n *iniNetwork, joins bool) {
	switch {
	case !n.ours:
		c.fail(v.sp, "publish it in the file that declares the network", "network %q is declared elsewhere", n.name)
		return
	case !joins:
		c.fail(v.sp, "publish it in the file of the jail", "there is no jail in this file to publish a port of")
		return
	}
	for _, part := range strings.Split(v.text, ",") {
		host, jail, ok := strings.Cut(strings.TrimSpace(part), ":")
		h, errH := strconv.ParseUint(host, 10, 16)
		j, errJ := strconv.ParseUint(jail, 10, 16)
		if !ok || errH != nil || errJ != nil || h == 0 || j == 0 {
			c.fail(v.sp, "as in publish=8080:80,8443:443", "%q is no HOST:JAIL pair of ports", clip(part))
			continue
		}
		n.publish = append(n.publish, iniPublish{uint16(h), uint16(j), v.sp})
	}
}

func (c *iniConverter) dataset(s *iniSection) {
	mount := c.need(s, "mount")
	for _, key := range []string{"dataset", "pool"} {
		if v, ok := s.get(key); ok {
			c.warn(v.sp, "rexctl volume ls shows where it is", "%s is not used: the volume %q belongs to the jail and moves with it, each host gives it a dataset of its own", key, s.label.text)
		}
	}
	c.volumes = append(c.volumes, iniVolume{name: s.label.text, path: mount.text, at: s.head})
}

func (c *iniConverter) nullfs(s *iniSection) {
	dir, mount := c.need(s, "directory"), c.need(s, "mount")
	c.volumes = append(c.volumes, iniVolume{s.label.text, mount.text, dir.text, !c.yesNo(s, "readonly", true), s.head})
}

// jailKeys takes host.hostname; what would open the jail is refused, the rest has
// no counterpart.
func (c *iniConverter) jailKeys(s *iniSection) {
	for _, k := range s.keys {
		name := k.key.text
		switch {
		case name == "host.hostname":
			c.hostname = k.value
		case name == "exec.start" || name == "exec.stop":
			c.warn(k.key.sp, "put it into command, or into a RUN of the image", "%s is not used: the jail runs its command", name)
		case name == "path" || strings.HasPrefix(name, "exec.") || strings.HasPrefix(name, "allow.") || name == "children.max" ||
			name == "devfs_ruleset" || name == "securelevel":
			c.fail(k.key.sp, "leave it out", "%s would open the jail or is the host's to set", name)
		default:
			c.warn(k.key.sp, "", "%s is not passed on", clip(name))
		}
	}
}
