package spec

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// jail unrolls one jail block: a Jail per replica.
func (d *decoder) jail(b *hclsyntax.Block) {
	name, ok := d.label(b, "jail")
	if !ok || !d.once("jail/"+name, b, "jail", name) {
		return
	}
	k := d.block("jail/"+name, `jail "`+name+`"`, b.Body, blockSpan(b), nil)
	count, counted := 1, false
	if b.Body.Attributes["count"] != nil {
		if count, counted = k.whole("count", 0, MaxCount); !counted {
			return
		}
	}
	if len(d.wish.Jails)+count > MaxJails {
		d.failAt(blockSpan(b), "", "%s: the file wishes for more than %d jails", k.what, MaxJails)
		return
	}
	d.empty[name] = count == 0
	errors := len(d.diags)
	for i := 1; i <= max(count, 1); i++ {
		j := Jail{Name: name, Group: name, Replicas: max(count, 1)}
		if counted {
			j.Index, j.Name = i, fmt.Sprintf("%s-%d", name, i)
		}
		d.budget.left += replicaCost
		d.replica(b, &j)
		if len(d.diags) > errors || count == 0 {
			return // the others would say the same; a count of 0 is only checked
		}
		if d.bytes += sizeOfJail(&j); d.bytes > MaxWishBytes {
			d.failAt(blockSpan(b), "", "%s: the expanded file is larger than %s", k.what, FormatSize(MaxWishBytes))
			return
		}
		d.wish.Jails = append(d.wish.Jails, j)
	}
}

// replica reads a jail block for one replica.
func (d *decoder) replica(b *hclsyntax.Block, j *Jail) {
	domain := d.wish.Domain
	if domain == "" {
		domain = d.in.Domain
	}
	if domain == "" {
		domain = DefaultDomain
	}
	self := map[string]cty.Value{
		"name": cty.StringVal(j.Name), "group": cty.StringVal(j.Group),
		"index": cty.NumberIntVal(int64(j.Index)), "domain": cty.StringVal(domain),
	}
	k := d.block("jail/"+j.Group, `jail "`+j.Group+`"`, b.Body, blockSpan(b), self)
	k.asked["count"] = true
	d.nics(k, j)
	j.Hostname = strings.TrimSuffix(k.text("hostname", ""), ".")
	if j.Hostname == j.Name {
		j.Hostname = ""
	}
	d.completeSelf(self, j, domain)
	if !k.need("image") {
		return
	}
	j.Image = k.text("image", "")
	j.Depends = k.list("depends_on", true, `depends_on = ["JAIL"]`)
	j.Command = k.list("command", false, `command = ["sh", "-c", "..."]: a program and its arguments, no shell`)
	j.Env = k.environment("env")
	j.User, j.WorkDir = k.text("user", ""), k.text("workdir", "")
	j.Ephemeral = k.flag("ephemeral")
	j.Socket = k.flag("socket")
	if fence, given := k.primitive("fence", cty.Bool, "true or false"); given {
		j.NoFence = fence.False()
	}
	j.Stop = k.duration("stop_timeout", DefaultStopTimeout)
	j.Runtime, j.OS, j.Arch = k.text("runtime", ""), k.text("os", ""), k.text("arch", "")
	d.services(k, j)
	d.volumes(k, j)
	d.fromImage(j)
	d.pacing(k, j)
	d.placement(k, j)
	k.finish("nic", "service", "volume", "limits", "restart", "update", "placement")
}

// completeSelf adds what is known only after hostname and network were read.
func (d *decoder) completeSelf(self map[string]cty.Value, j *Jail, domain string) {
	host, network := j.Name, ""
	fqdn := j.Name + "." + domain
	if len(j.NICs) > 0 {
		network = j.NICs[0].Network
		fqdn = j.Name + "." + network + "." + domain
	}
	if j.Hostname != "" {
		host = j.Hostname
	}
	self["hostname"], self["network"], self["fqdn"] = cty.StringVal(host), cty.StringVal(network), cty.StringVal(fqdn)
}

// nics reads network, address and address6, or the nic blocks.
func (d *decoder) nics(k *block, j *Jail) {
	blocks := k.inner("nic")
	network := k.text("network", "")
	if len(blocks) > 0 {
		for _, name := range []string{"network", "address", "address6"} {
			if a := k.attribute(name); a != nil {
				k.fail(a, "move it into a nic block", "not together with nic blocks")
			}
		}
		for i, b := range blocks {
			n := d.block(fmt.Sprintf("%s/nic/%d", k.path, i), k.what+": nic", b.Body, blockSpan(b), k.self)
			n.need("network")
			if len(b.Labels) > 0 {
				d.failAt(blockSpan(b), `nic { network = "`+clip(b.Labels[0])+`" }`, "%s: a nic block has no label", k.what)
			}
			j.NICs = append(j.NICs, NIC{Network: n.text("network", ""), Addr: n.address("address"), Addr6: n.address("address6")})
			n.finish()
		}
		return
	}
	nic := NIC{Network: network, Addr: k.address("address"), Addr6: k.address("address6")}
	for _, at := range []string{"network", "address", "address6"} { // as validate names them
		if p, ok := d.places[k.path+"/"+at]; ok {
			d.places[k.path+"/nic/0/"+at] = p
		}
	}
	switch network {
	case "":
		if k.body.Attributes["network"] == nil {
			d.failAt(k.head, `network = "NAME", or network = "none" for a jail without network`, "%s: network is missing", k.what)
		}
	case "none":
	default:
		j.NICs = []NIC{nic}
	}
}

// dropEmpty takes groups of no replicas out of depends_on: there is nothing to
// wait for.
func (d *decoder) dropEmpty() {
	for i := range d.wish.Jails {
		j := &d.wish.Jails[i]
		j.Depends = slices.DeleteFunc(j.Depends, func(g string) bool { return d.empty[g] })
	}
}

// fromImage takes over what the image says and the jail does not.
func (d *decoder) fromImage(j *Jail) {
	for i := range d.wish.Images {
		m := &d.wish.Images[i]
		if m.Name != j.Image {
			continue
		}
		j.ImageKey = m.Key
		inheritFrom(m, j)
	}
}

// inheritFrom: an image's services are a jail's that names none; an image's
// volumes are the jail's unless it mounts something there itself.
func inheritFrom(m *Image, j *Jail) {
	if len(j.Services) == 0 {
		j.Services = append(j.Services, m.Service...)
	}
	for _, path := range m.Volumes {
		mounted, name := false, volumeName(path)
		for _, v := range j.Volumes {
			mounted = mounted || v.Path == path || v.Name == name
		}
		if !mounted {
			j.Volumes = append(j.Volumes, Volume{Name: name, Path: path})
		}
	}
}

// volumeName makes a name of a path: /var/lib/postgresql is
// var-lib-postgresql.
func volumeName(path string) string {
	name := []byte("v")
	for _, c := range []byte(strings.ToLower(path)) {
		switch {
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9':
			name = append(name, c)
		case name[len(name)-1] != '-':
			name = append(name, '-')
		}
	}
	s := strings.Trim(string(name[1:]), "-")
	if s == "" || s[0] < 'a' || s[0] > 'z' {
		s = "v-" + s
	}
	if len(s) > 63 {
		sum := digestOf(path)
		s = s[:50] + "-" + sum[len(sum)-8:]
	}
	return strings.TrimRight(s, "-")
}

// sizeOfJail is roughly how many bytes j takes.
func sizeOfJail(j *Jail) int {
	n := 256 + len(j.Name) + len(j.Hostname)
	for _, s := range j.Command {
		n += len(s) + 4
	}
	for _, e := range j.Env {
		n += len(e.Name) + len(e.Value) + 32
	}
	return n + 128*(len(j.Services)+len(j.Volumes)+len(j.NICs))
}
