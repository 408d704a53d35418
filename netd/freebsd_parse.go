package netd

import (
	"encoding/json"
	"fmt"
	"math/bits"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// iface is one interface as ifconfig(8) shows it.
type iface struct {
	Name    string
	Up      bool
	MTU     int    // bytes
	Descr   string // "" when there is none
	Forged  bool   // the description has lines of its own: it was not written by us
	Ether   MAC
	Addrs   []netip.Prefix // with IPv6 link-local ones
	Groups  []string
	Members []string // of a bridge
}

// linkHeader allows for flags=0 without <>, as 15 prints it.
var linkHeader = regexp.MustCompile(`^(\S+): flags=[0-9a-f]+(?:<([A-Z0-9_,]*)>)? metric \d+ mtu (\d+)`)

// parseIface reads what `ifconfig -f inet:cidr,inet6:cidr NAME` printed. Whoever may set the description of an interface
// writes lines of its own into that text, of any form (seen: "line1\nline2: flags=8843<UP>"). They stand between the
// description and the MAC, for that is where ifconfig prints it; so what counts is below the last MAC, and anything
// but the options between the two is a forgery.
func parseIface(name, out string) (iface, error) {
	lines := strings.Split(strings.TrimRight(out, "\n"), "\n")
	m := linkHeader.FindStringSubmatch(lines[0])
	if m == nil || m[1] != name {
		return iface{}, fmt.Errorf("ifconfig %s: %q does not begin with the interface", name, cutText(lines[0]))
	}
	x := iface{Name: name, Up: slices.Contains(strings.Split(m[2], ","), "UP")}
	x.MTU, _ = strconv.Atoi(m[3])
	lines = lines[1:]
	described := false
	if len(lines) > 0 {
		x.Descr, described = strings.CutPrefix(lines[0], "\tdescription: ")
	}
	if described {
		lines = lines[1:]
	} else {
		x.Descr = ""
	}
	if described {
		x.Forged, lines = forged(lines)
	}
	for _, l := range lines {
		x.line(l)
	}
	return x, nil
}

// forged looks for lines that a description brought along, and returns those that are the kernel's.
func forged(lines []string) (bool, []string) {
	last := -1
	for i, l := range lines {
		if strings.HasPrefix(l, "\tether ") {
			last = i
		}
	}
	if last < 0 { // loopbacks and tunnels have no MAC; none of them is ours
		return slices.ContainsFunc(lines, func(l string) bool { return !strings.HasPrefix(l, "\t") }), lines
	}
	options := 0
	bad := false
	for _, l := range lines[:last] {
		if strings.HasPrefix(l, "\toptions=") {
			options++
		} else {
			bad = true
		}
	}
	return bad || options > 1, lines[last:]
}

func (x *iface) line(l string) {
	f := strings.Fields(l)
	if len(f) < 2 || !strings.HasPrefix(l, "\t") {
		return
	}
	switch f[0] {
	case "ether":
		x.Ether, _ = ParseMAC(f[1])
	case "inet", "inet6":
		if p, ok := parseInet(f); ok {
			x.Addrs = append(x.Addrs, p)
		}
	case "groups:":
		x.Groups = f[1:]
	case "member:":
		x.Members = append(x.Members, f[1])
	}
}

// parseInet reads "inet 10.0.0.1/24 broadcast ..", "inet 10.0.0.1 netmask 0xffffff00", "inet 10.0.0.1/32 --> 10.0.0.2",
// "inet6 fe80::1%em0/64 scopeid 0x1" and "inet6 ::1 prefixlen 128".
func parseInet(f []string) (netip.Prefix, bool) {
	text, length, cidr := strings.Cut(f[1], "/")
	text, _, _ = strings.Cut(text, "%")
	a, err := netip.ParseAddr(text)
	if err != nil || a.Is4() != (f[0] == "inet") {
		return netip.Prefix{}, false
	}
	n := a.BitLen()
	switch i := slices.IndexFunc(f, func(s string) bool { return s == "netmask" || s == "prefixlen" }); {
	case cidr:
		n, err = strconv.Atoi(length)
	case i > 0 && i+1 < len(f) && f[i] == "prefixlen":
		n, err = strconv.Atoi(f[i+1])
	case i > 0 && i+1 < len(f):
		var mask uint64
		mask, err = strconv.ParseUint(f[i+1], 0, 32)
		n = bits.OnesCount32(uint32(mask)) // ParseUint has bounded it
	}
	p := netip.PrefixFrom(a, n)
	return p, err == nil && p.IsValid()
}

// route is one line of netstat(1) -rn.
type route struct {
	Dst     netip.Prefix // 0.0.0.0/0 or ::/0: the default route
	Gateway string
	Flags   string
	Dev     string
}

// parseRoutes reads `netstat -rnW -f inet` or `-f inet6`; lines of no address are left out. Without -W names of interfaces are
// cut, with it there are more columns: the header says which.
func parseRoutes(out string) []route {
	var routes []route
	zero := netip.IPv4Unspecified()
	netif := 3
	for l := range strings.Lines(out) {
		f := strings.Fields(l)
		switch {
		case len(f) == 1 && f[0] == "Internet6:":
			zero = netip.IPv6Unspecified()
			continue
		case len(f) > 0 && f[0] == "Destination":
			netif = max(3, slices.Index(f, "Netif"))
			continue
		case len(f) <= netif:
			continue
		}
		dst, ok := parseDestination(f[0], zero)
		if ok {
			routes = append(routes, route{Dst: dst, Gateway: f[1], Flags: f[2], Dev: f[netif]})
		}
	}
	return routes
}

func parseDestination(text string, zero netip.Addr) (netip.Prefix, bool) {
	if text == "default" {
		return netip.PrefixFrom(zero, 0), true
	}
	addr, length, slash := strings.Cut(text, "/")
	addr, _, _ = strings.Cut(addr, "%")
	if zero.Is4() { // older ones print 10/8 for 10.0.0.0/8
		addr += strings.Repeat(".0", max(0, 3-strings.Count(addr, ".")))
	}
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return netip.Prefix{}, false
	}
	n := a.BitLen()
	if slash {
		if n, err = strconv.Atoi(length); err != nil {
			return netip.Prefix{}, false
		}
	}
	p, err := a.Prefix(n)
	return p, err == nil
}

// parseJails reads `jls -n --libxo json name path`: no jail is an empty list or none at all.
func parseJails(out string) (map[string]string, error) {
	var doc struct {
		Info struct {
			Jail []struct{ Name, Path string } `json:"jail"`
		} `json:"jail-information"`
	}
	if strings.TrimSpace(out) == "" {
		return nil, nil
	}
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		return nil, fmt.Errorf("jls: %q is not the JSON that was expected: %w", cutText(out), err)
	}
	paths := map[string]string{}
	for _, j := range doc.Info.Jail {
		paths[j.Name] = j.Path
	}
	return paths, nil
}

// parseHolder reads the program at the other end of a port from `sockstat -l`: USER COMMAND PID FD PROTO LOCAL FOREIGN.
func parseHolder(out string, port uint16) string {
	for l := range strings.Lines(out) {
		f := strings.Fields(l)
		if len(f) >= 6 && strings.HasSuffix(f[5], ":"+strconv.Itoa(int(port))) {
			return fmt.Sprintf("%s (pid %s)", f[1], f[2])
		}
	}
	return ""
}

// cutText shortens what a program printed for a message.
func cutText(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}
