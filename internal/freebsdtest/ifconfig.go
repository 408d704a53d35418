package freebsdtest

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// ifconfig is ifconfig(8) of 15.1: -l, -g GROUP, -f FORMAT NAME, KIND create and NAME with what to do, each after -j JAIL.
func (n *Net) ifconfig(_ *Host, _ run.Cmd, args []string) Reply {
	vnet, args, r := n.enter("ifconfig", args)
	if r.RC != 0 {
		return r
	}
	switch {
	case len(args) == 1 && args[0] == "-l":
		var names []string
		for _, x := range n.nics {
			if x.Vnet == vnet {
				names = append(names, x.Name)
			}
		}
		return Reply{Out: strings.Join(names, " ") + "\n"}
	case len(args) == 2 && args[0] == "-g":
		var b strings.Builder
		for _, x := range n.nics {
			if x.Vnet == vnet && slices.Contains(x.Groups, args[1]) {
				b.WriteString(x.Name + "\n")
			}
		}
		return Reply{Out: b.String()}
	case len(args) == 3 && args[0] == "-f" && args[1] == "inet:cidr,inet6:cidr":
		x := n.find(vnet, args[2])
		if x == nil {
			return Fail(1, "ifconfig: interface %s does not exist", args[2])
		}
		return Reply{Out: x.String()}
	case len(args) >= 2 && args[1] == "create" && (args[0] == "epair" || args[0] == "bridge"):
		return n.clone(vnet, args[0], args[2:])
	case len(args) >= 2 && !strings.HasPrefix(args[0], "-"):
		x := n.find(vnet, args[0])
		if x == nil {
			return Fail(1, "ifconfig: interface %s does not exist", args[0])
		}
		return n.change(x, args[1:])
	}
	return Fail(1, "freebsdtest: ifconfig %s: not modelled", strings.Join(args, " "))
}

// clone makes an interface, or a pair, and does the rest of the line with it. What fails there leaves it behind.
func (n *Net) clone(vnet int, kind string, args []string) Reply {
	unit := n.unit(kind)
	x := &NIC{Name: unit, Kind: kind, Vnet: vnet, MTU: 1500, Ether: n.mac(), Groups: []string{kind}, unit: unit}
	if kind == "epair" {
		x.Name += "a"
		x.Peer = &NIC{Name: unit + "b", Kind: kind, Vnet: vnet, MTU: 1500, Ether: n.mac(), Groups: []string{kind}, Peer: x, unit: unit}
		n.nics = append(n.nics, x, x.Peer)
	} else {
		n.nics = append(n.nics, x)
	}
	name := x.Name
	r := n.change(x, args)
	if r.RC != 0 {
		return Reply{Out: name + "\n", Err: r.Err, RC: r.RC}
	}
	return Reply{Out: x.Name + "\n"}
}

// change does the commands of one line in turn.
func (n *Net) change(x *NIC, args []string) Reply {
	out := ""
	for i := 0; i < len(args); i++ {
		word, arg := args[i], ""
		if i+1 < len(args) {
			arg = args[i+1]
		}
		r := Reply{}
		switch word {
		case "up":
			n.up(x)
			continue
		case "destroy":
			n.remove(x)
			continue
		case "inet", "inet6", "ether":
			if i != 0 {
				return Fail(1, "freebsdtest: ifconfig %s in the middle of a line: not to be relied on", word)
			}
			if word == "ether" {
				return n.setEther(x, args[1:])
			}
			return n.address(x, word, args[1:])
		case "descr":
			if len(arg) > 1024 {
				r = Fail(1, "ifconfig: ioctl SIOCSIFDESCR (set descr): File name too long")
			}
			x.Descr = arg
		case "group":
			if arg == "" || arg[len(arg)-1] >= '0' && arg[len(arg)-1] <= '9' {
				return Fail(1, "ifconfig: setifgroup: group names may not end in a digit")
			}
			x.Groups = append(x.Groups, arg)
		case "name":
			if r = n.rename(x, arg); r.RC == 0 {
				out = arg + "\n"
			}
		case "mtu":
			r = n.setMTU(x, arg)
		case "vnet", "-vnet":
			r = n.vmove(x, word, arg)
		case "addm":
			r = n.addMember(x, arg)
		default:
			return Fail(1, "freebsdtest: ifconfig %s %s: not modelled", x.Name, word)
		}
		if r.RC != 0 {
			return r
		}
		i++
	}
	return Reply{Out: out}
}

// up also gives a loopback its IPv6 address.
func (n *Net) up(x *NIC) {
	x.Up = true
	one := netip.MustParsePrefix("::1/128")
	if x.Kind == "lo" && !slices.Contains(x.Addrs, one) {
		x.Addrs = append(x.Addrs, one)
	}
}

func (n *Net) rename(x *NIC, to string) Reply {
	if slices.Contains(x.Groups, to) {
		n.Panics = append(n.Panics, fmt.Sprintf("interface %s renamed to its own group %s", x.Name, to))
		return Fail(1, "freebsdtest: the kernel panics here")
	}
	if len(to) > 15 {
		return Fail(1, "ifconfig: ioctl SIOCSIFNAME (set name): File name too long")
	}
	if n.find(x.Vnet, to) != nil {
		return Fail(1, "ifconfig: ioctl SIOCSIFNAME (set name): File exists")
	}
	x.Name = to
	return Reply{}
}

func (n *Net) setEther(x *NIC, args []string) Reply {
	if len(args) != 1 || strings.Count(args[0], ":") != 5 {
		return Fail(1, "ifconfig: ioctl SIOCSIFLLADDR: Invalid argument")
	}
	if x.HWAddr == "" {
		x.HWAddr = x.Ether
	}
	x.Ether = args[0]
	return Reply{}
}

func (n *Net) setMTU(x *NIC, text string) Reply {
	mtu, err := strconv.Atoi(text)
	if err != nil || mtu < 72 || mtu > 65535 {
		return Fail(1, "ifconfig: ioctl SIOCSIFMTU (set mtu): Invalid argument")
	}
	for _, b := range n.nics {
		if slices.Contains(b.Members, x) {
			return Fail(1, "ifconfig: ioctl SIOCSIFMTU (set mtu): Operation not supported")
		}
	}
	x.MTU = mtu
	for _, m := range x.Members {
		m.MTU = mtu
	}
	return Reply{}
}

func (n *Net) vmove(x *NIC, word, jail string) Reply {
	vnet, ok := n.owner(jail)
	if !ok {
		return Fail(1, "ifconfig: jail %q not found", jail)
	}
	if word == "-vnet" {
		in := n.find(vnet, x.Name)
		if in == nil {
			return Fail(1, "ifconfig: SIOCSIFRVNET(16, %s): Device not configured", x.Name)
		}
		n.move(in, 0)
		return Reply{}
	}
	if n.find(vnet, x.Name) != nil {
		return Fail(1, "ifconfig: SIOCSIFVNET: File exists")
	}
	n.move(x, vnet)
	return Reply{}
}

func (n *Net) addMember(b *NIC, name string) Reply {
	m := n.find(b.Vnet, name)
	if m == nil {
		return Fail(1, "ifconfig: BRDGADD %s: No such file or directory (errno 2 category 7 (src sys/net/if_bridge.c:1352) p1 0xfffffe00674b69e8 p2 0)", name)
	}
	for _, o := range n.nics {
		if !slices.Contains(o.Members, m) {
			continue
		}
		if o == b {
			return Fail(1, "ifconfig: BRDGADD %s: File exists (errno 17 category 7 (src sys/net/if_bridge.c:1389) p1 0 p2 0)", name)
		}
		return Fail(1, "ifconfig: BRDGADD %s: Device busy (errno 16 category 7 (src sys/net/if_bridge.c:1394) p1 0 p2 0)", name)
	}
	if len(m.Addrs) > 0 {
		return Fail(1, "freebsdtest: member %s has an address: bridges of 16 refuse that", name)
	}
	if len(b.Members) == 0 {
		b.MTU = m.MTU
	}
	m.MTU = b.MTU
	b.Members = append(b.Members, m)
	return Reply{}
}

// address is inet ADDR/LEN alias or up, inet ADDR -alias and inet6 -ifdisabled no_dad.
func (n *Net) address(x *NIC, family string, args []string) Reply {
	if family == "inet6" && slices.Equal(args, []string{"-ifdisabled", "no_dad"}) {
		x.V6 = true
		return Reply{}
	}
	if len(args) != 2 {
		return Fail(1, "freebsdtest: ifconfig %s %s: not modelled", family, strings.Join(args, " "))
	}
	if args[1] == "-alias" {
		i := slices.IndexFunc(x.Addrs, func(p netip.Prefix) bool { return p.Addr().String() == args[0] })
		if i < 0 {
			return Fail(1, "ifconfig: ioctl (SIOCDIFADDR): Can't assign requested address")
		}
		x.Addrs = slices.Delete(x.Addrs, i, i+1)
		return Reply{}
	}
	if args[1] == "up" && family == "inet" { // without alias the first address is replaced
		i := slices.IndexFunc(x.Addrs, func(p netip.Prefix) bool { return p.Addr().Is4() })
		if i >= 0 {
			x.Addrs = slices.Delete(x.Addrs, i, i+1)
		}
		n.up(x)
		args = []string{args[0], "alias"}
	}
	p, err := netip.ParsePrefix(args[0])
	if err != nil || p.Addr().Is4() != (family == "inet") || args[1] != "alias" {
		return Fail(1, "ifconfig: ioctl (SIOCAIFADDR): Invalid argument")
	}
	if p.Addr().Is6() && !x.V6 {
		return Fail(1, "freebsdtest: IPv6 is disabled on %s", x.Name)
	}
	for _, o := range n.nics {
		if o.Vnet == x.Vnet && slices.ContainsFunc(o.Addrs, func(q netip.Prefix) bool { return q.Addr() == p.Addr() }) {
			return Fail(1, "ifconfig: ioctl (SIOCAIFADDR): File exists")
		}
	}
	for _, b := range n.nics {
		if slices.Contains(b.Members, x) {
			return Fail(1, "ifconfig: ioctl (SIOCAIFADDR): Invalid argument")
		}
	}
	x.Addrs = append(x.Addrs, p)
	return Reply{}
}

// String is what ifconfig -f inet:cidr,inet6:cidr prints of it.
func (x *NIC) String() string {
	var b strings.Builder
	flags, up := "1008842", ""
	if x.Up {
		flags, up = "1008843", "UP,"
	}
	fmt.Fprintf(&b, "%s: flags=%s<%sBROADCAST,RUNNING,SIMPLEX,MULTICAST,LOWER_UP> metric 0 mtu %d\n", x.Name, flags, up, x.MTU)
	if x.Descr != "" {
		fmt.Fprintf(&b, "\tdescription: %s\n", x.Descr)
	}
	if x.Kind == "lo" {
		b.WriteString("\toptions=680003<RXCSUM,TXCSUM,LINKSTATE,RXCSUM_IPV6,TXCSUM_IPV6>\n")
	} else {
		fmt.Fprintf(&b, "\toptions=60001b<RXCSUM,TXCSUM,VLAN_MTU,VLAN_HWTAGGING,RXCSUM_IPV6,TXCSUM_IPV6>\n\tether %s\n", x.Ether)
	}
	if x.HWAddr != "" {
		fmt.Fprintf(&b, "\thwaddr %s\n", x.HWAddr)
	}
	for _, p := range x.Addrs {
		if p.Addr().Is4() {
			fmt.Fprintf(&b, "\tinet %v broadcast 10.255.255.255\n", p)
		} else {
			fmt.Fprintf(&b, "\tinet6 %v\n", p)
		}
	}
	if x.V6 && x.Kind != "lo" {
		fmt.Fprintf(&b, "\tinet6 fe80::1%%%s/64 scopeid 0x7\n", x.Name)
	}
	if x.Kind == "bridge" {
		b.WriteString("\tid 00:00:00:00:00:00 priority 32768 hellotime 2 fwddelay 15\n\tmaxage 20 holdcnt 6 proto rstp maxaddr 2000 timeout 1200\n" +
			"\troot id 00:00:00:00:00:00 priority 32768 ifcost 0 port 0\n\tbridge flags=0<>\n")
		for _, m := range x.Members {
			fmt.Fprintf(&b, "\tmember: %s flags=143<LEARNING,DISCOVER,AUTOEDGE,AUTOPTP>\n\t        port 4 priority 128 path cost 2000 vlan protocol 802.1q\n", m.Name)
		}
	}
	fmt.Fprintf(&b, "\tgroups: %s\n\tnd6 options=29<PERFORMNUD,IFDISABLED,AUTO_LINKLOCAL>\n", strings.Join(x.Groups, " "))
	return b.String()
}
