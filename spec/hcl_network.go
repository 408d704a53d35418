package spec

import (
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

func (d *decoder) network(b *hclsyntax.Block) {
	name, ok := d.label(b, "network")
	if !ok {
		return
	}
	if !d.once("network/"+name, b, "network", name) {
		return
	}
	k := d.block("network/"+name, `network "`+name+`"`, b.Body, blockSpan(b), nil)
	k.need("subnet")
	n := Network{
		Name:    name,
		Subnet:  k.prefix("subnet"),
		Subnet6: k.prefix("subnet6"),
		NAT:     k.flag("nat"),
		Allow:   k.list("allow", true, `allow = ["NETWORK"]`),
		Overlay: k.text("overlay", ""),
		VLAN:    k.number("vlan", 0, 1, 4094),
	}
	if n.Overlay == "wireguard" && n.VLAN == 0 { // the default, said aloud
		n.Overlay = ""
	}
	n.DHCP = d.dhcp(k)
	for _, p := range k.inner("publish") {
		if pub, ok := d.publish(k, p); ok {
			n.Publish = append(n.Publish, pub)
		}
	}
	for _, a := range k.inner("allow") {
		if open, ok := d.open(k, a); ok {
			n.Open = append(n.Open, open)
		}
	}
	k.finish("publish", "allow", "dhcp")
	d.wish.Networks = append(d.wish.Networks, n)
}

func (d *decoder) publish(k *block, b *hclsyntax.Block) (Publish, bool) {
	name, ok := d.label(b, "publish")
	if !ok || !d.once(k.path+"/publish/"+name, b, k.what+": publish", name) {
		return Publish{}, false
	}
	p := d.block(k.path+"/publish/"+name, k.what+`: publish "`+name+`"`, b.Body, blockSpan(b), nil)
	p.need("port")
	out := Publish{
		Name:    name,
		Port:    uint16(p.number("port", 0, 1, 65535)),
		Service: p.text("service", name),
		Proto:   strings.TrimPrefix(p.text("proto", ""), "tcp"),
		Mode:    p.text("mode", ""),
		Shared:  p.flag("shared"),
		Drain:   p.duration("drain", 0),
	}
	p.finish()
	return out, true
}

// open is an allow block: the same as the attribute, for some ports.
func (d *decoder) open(k *block, b *hclsyntax.Block) (Open, bool) {
	from, ok := d.label(b, "allow")
	if !ok || !d.once(k.path+"/allow/"+from, b, k.what+": allow", from) {
		return Open{}, false
	}
	p := d.block(k.path+"/allow/"+from, k.what+`: allow "`+from+`"`, b.Body, blockSpan(b), nil)
	p.need("ports")
	out := Open{From: from, Ports: p.list("ports", true, `ports = ["443/tcp"]`)}
	p.finish()
	return out, true
}

// once refuses a second block of one name; path becomes its place.
func (d *decoder) once(path string, b *hclsyntax.Block, kind, name string) bool {
	if first, dup := d.places[path]; dup {
		line := d.file.at(first.sp, "").Line
		d.failAt(blockSpan(b), "", "%s %q is declared twice, first in line %d", kind, clip(name), line)
		return false
	}
	d.places[path] = place{d.file, blockSpan(b)}
	return true
}
