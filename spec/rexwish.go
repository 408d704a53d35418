package spec

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"strings"
)

// finish completes the image: its name, and the digests of what COPY takes
// from the directory dir (as Inputs.CopyDigest calls it).
func (p *rexParser) finish(name, dir string, in Inputs) *Image {
	m := &p.image
	m.Rexfile = name
	m.Name = stem(name)
	if !p.seen["BASE"] && !p.diags.HasErrors() {
		p.fail(span{}, "begin the file with BASE, such as BASE debian:bookworm", "the file has no BASE")
	}
	if p.diags.HasErrors() {
		return m
	}
	p.digests(dir, in)
	return m
}

// digests asks for the content of each COPY, and of all of them together: the
// latter is what a builder is sent.
func (p *rexParser) digests(dir string, in Inputs) {
	m := &p.image
	var all []string
	for i := range m.Steps {
		s := &m.Steps[i]
		if s.Kind != StepCopy {
			continue
		}
		at := p.places[fmt.Sprintf("step/%d", i)]
		if in.CopyDigest == nil {
			p.fail(at, "", "the build context cannot be read here")
			return
		}
		digest, err := in.CopyDigest(dir, s.Src)
		if err != nil {
			p.fail(at, "", "%v", err)
			continue
		}
		s.Digest = digest
		for _, src := range s.Src {
			if !contains(all, src) {
				all = append(all, src)
			}
		}
	}
	if len(all) == 0 || p.diags.HasErrors() {
		return
	}
	digest, err := in.CopyDigest(dir, all)
	if err != nil {
		p.fail(span{}, "", "%v", err)
	}
	m.Context = digest
}

// check runs the Wish's checks on the image alone. It may have the name of
// its base: it will be tagged otherwise.
func (p *rexParser) check(m *Image) {
	c := &checker{w: &Wish{Images: []Image{*m}}}
	c.checkImages()
	p.take(c.problems, "image/"+m.Name+"/")
}

// take reports problems at their place.
func (p *rexParser) take(problems []Problem, prefix string) {
	for _, problem := range problems {
		at := strings.TrimPrefix(problem.Path, prefix)
		sp, ok := p.places[at]
		for !ok && at != "" {
			at = at[:max(strings.LastIndexByte(at, '/'), 0)]
			sp, ok = p.places[at]
		}
		p.fail(sp, problem.Hint, "%s", problem.Message)
	}
}

// ParseRexWish reads a .rex file that is applied by itself, which needs
// HOSTNAME, IP or SERVICE in it: a Wish, an image and one jail, all with the
// file's name.
//
// The network: with IP, the one of the cluster whose subnet is that of the
// address, if another Wish declares one; else a network of this Wish with the
// file's name, NAT, and the subnet of the address. Without IP, a network of
// the file's name with a free /24 of 10.128.0.0/9, chosen by the name, so that
// it is the same at every apply; the address is leased.
func ParseRexWish(name string, src []byte, in Inputs) (*Wish, Diagnostics) {
	p := parseRex(name, src)
	m := p.finish(name, ".", in)
	if !p.diags.HasErrors() && m.Host == "" && !m.Addr.IsValid() && len(m.Service) == 0 {
		p.fail(span{}, "add HOSTNAME, IP or SERVICE, or use the file as the rexfile of an image block", "the file describes an image only, there is nothing to run")
	}
	if err := ValidName(m.Name); err != nil {
		p.fail(span{}, "rename the file: its name is that of the jail, its image and its network", "%v", err)
	}
	if p.diags.HasErrors() {
		return nil, p.diags.sorted()
	}
	w := &Wish{Name: m.Name, Source: name}
	j := Jail{Name: m.Name, Group: m.Name, Replicas: 1, Image: m.Name}
	if m.Host != m.Name {
		j.Hostname = m.Host
	}
	nic, network := p.network(m, in)
	j.NICs = []NIC{nic}
	if network != nil {
		w.Networks = []Network{*network}
	}
	inheritFrom(m, &j)
	w.Images, w.Jails = []Image{*m}, []Jail{j}
	if err := w.Seal(); err != nil {
		p.fail(p.places["base"], "rename the file, or use another base", "%v", err)
		return nil, p.diags.sorted()
	}
	w.Normalize()
	p.places["jail/"+m.Name+"/nic/0/address"] = p.places["ip"]
	p.places["network/"+m.Name+"/subnet"] = p.places["ip"]
	c := &checker{w: w}
	c.check()
	p.take(c.problems, "image/"+m.Name+"/")
	if p.diags.HasErrors() {
		return nil, p.diags.sorted()
	}
	return w, p.diags.sorted()
}

// network applies the rule of ParseRexWish. The Network is nil if the jail
// joins one that another Wish declares.
func (p *rexParser) network(m *Image, in Inputs) (NIC, *Network) {
	n := &Network{Name: m.Name, NAT: true}
	nic := NIC{Network: m.Name}
	if !m.Addr.IsValid() {
		n.Subnet = FreeSubnet(m.Name, in.Networks)
		return nic, n
	}
	a := m.Addr.Addr()
	if !a.Is4() {
		p.fail(p.places["ip"], "write an IPv4 address", "%s is not IPv4", a)
		return nic, nil
	}
	nic.Addr, n.Subnet = a, m.Addr.Masked()
	for _, known := range in.Networks {
		if known.Wish == m.Name || !known.Subnet.Overlaps(n.Subnet) {
			continue
		}
		if known.Subnet != n.Subnet {
			p.fail(p.places["ip"], "use the length of that network, or another subnet", "%s overlaps %s, the subnet of network %s", n.Subnet, known.Subnet, known.Name)
			return nic, nil
		}
		nic.Network = known.Name
		if err := (Network{Name: known.Name, Subnet: known.Subnet}).Assignable(a); err != nil {
			p.fail(p.places["ip"], "", "%v", err)
		}
		return nic, nil
	}
	return nic, n
}

// FreeSubnet is the subnet that the wish of that name has already, or else
// the first free /24 of 10.128.0.0/9 counted from a place that only the name
// decides. The zero Prefix says that all are taken.
func FreeSubnet(wish string, known []KnownNetwork) netip.Prefix {
	for _, k := range known {
		if k.Wish == wish && k.Name == wish {
			return k.Subnet
		}
	}
	const subnets = 1 << 15 // of /24 in 10.128.0.0/9
	sum := sha256.Sum256([]byte(wish))
	first := int(sum[0])<<8 | int(sum[1])
	for i := range subnets {
		n := (first + i) % subnets
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 128 | byte(n>>8), byte(n), 0}), 24)
		free := true
		for _, k := range known {
			free = free && !k.Subnet.Overlaps(p)
		}
		if free {
			return p
		}
	}
	return netip.Prefix{} // validation will say so
}
