package spec

import (
	"net/netip"
	"path"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// Inputs is everything that a file may depend on beside its own text. The
// zero Inputs is enough for a file without variables, images and secrets.
type Inputs struct {
	// Vars are values from the command line, by variable name.
	Vars map[string]string
	// Files reads a .rex file, named as in the cluster file, that is,
	// relative to it. Nil: no file can be read.
	Files func(name string) ([]byte, error)
	// CopyDigest returns the digest ("sha256:<hex>") of what the paths src
	// of a build context hold. contextDir is the directory of the .rex file,
	// named as for Files ("." for that of the cluster file). Nil: COPY is
	// refused.
	CopyDigest func(contextDir string, src []string) (string, error)
	// Domain is the cluster's, for self.domain in a file that names none;
	// DefaultDomain when empty.
	Domain string
	// Tag is the name of the image that ParseRex makes, instead of the file's.
	Tag string

	// Images and Networks exist in the cluster already: a file may use them
	// without declaring them. Those that the file's own Wish declared before
	// do not count: applying the file without them removes them.
	Images   []string
	Networks []KnownNetwork
}

// KnownNetwork is a network that the cluster has already.
type KnownNetwork struct {
	Name   string
	Subnet netip.Prefix
	Wish   string // the Name of the Wish that declares it
}

// Parse reads a cluster file: name is used in messages, in Wish.Source and,
// without a cluster block, for Wish.Name. It returns the validated Wish, or
// nil when the Diagnostics hold an error. It never panics, whatever src is.
func Parse(name string, src []byte, in Inputs) (*Wish, Diagnostics) {
	return newDecoder(name, src, in).parse()
}

func (d *decoder) parse() (*Wish, Diagnostics) {
	if found := guard(d.file); found != nil {
		return nil, found
	}
	parsed, diags := hclsyntax.ParseConfig(d.file.src, d.file.name, hcl.InitialPos)
	if diags.HasErrors() {
		d.hcl(diags)
		return nil, d.diags.sorted()
	}
	d.decode(parsed.Body.(*hclsyntax.Body))
	if !d.diags.HasErrors() {
		d.validate()
	}
	if d.diags.HasErrors() {
		return nil, d.diags.sorted()
	}
	d.wish.Normalize() // only now: messages about two things blame the later one
	return d.wish, d.diags.sorted()
}

// decoder makes one Wish of one file.
type decoder struct {
	file   *sourceFile
	in     Inputs
	wish   *Wish
	diags  Diagnostics
	budget budget

	roots  map[string]cty.Value // var, local
	ready  map[hclsyntax.Expression]*prepared
	places map[string]place // where the parts of the Wish are written, by Problem.Path
	empty  map[string]bool  // groups with count = 0
	bytes  int              // of the strings of the Wish so far
}

// place is a span of a file: of the cluster file or of one of its .rex files.
type place struct {
	file *sourceFile
	sp   span
}

func newDecoder(name string, src []byte, in Inputs) *decoder {
	return &decoder{
		file: newSource(name, src), in: in,
		wish:   &Wish{Name: stem(name), Source: name},
		budget: budget{left: maxCost},
		roots:  make(map[string]cty.Value),
		ready:  make(map[hclsyntax.Expression]*prepared),
		places: make(map[string]place),
		empty:  make(map[string]bool),
	}
}

// stem is the base name of a file without its extension.
func stem(name string) string {
	name = strings.ReplaceAll(name, `\`, "/")
	base := path.Base(name)
	if strings.EqualFold(base, rexfile) {
		if dir := strings.ToLower(path.Base(path.Dir(name))); ValidName(dir) == nil {
			return dir
		}
		return strings.ToLower(base)
	}
	if i := strings.IndexByte(base, '.'); i > 0 {
		base = base[:i]
	}
	return base
}

// decode reads the top level: first what others refer to.
func (d *decoder) decode(body *hclsyntax.Body) {
	top := d.block("", "the file", body, span{}, nil)
	blocks := map[string][]*hclsyntax.Block{}
	for _, b := range body.Blocks {
		blocks[b.Type] = append(blocks[b.Type], b)
	}
	top.finish("cluster", "variable", "locals", "network", "image", "jail")
	d.variables(blocks["variable"])
	d.locals(blocks["locals"])
	if d.diags.HasErrors() {
		return
	}
	d.cluster(blocks["cluster"])
	for _, b := range blocks["network"] {
		d.network(b)
	}
	for _, b := range blocks["image"] {
		d.image(b)
	}
	if d.diags.HasErrors() { // jails would only complain about what is missing
		return
	}
	d.sealImages()
	for _, b := range blocks["jail"] {
		d.jail(b)
	}
	d.dropEmpty()
}

func (d *decoder) cluster(blocks []*hclsyntax.Block) {
	if err := ValidName(d.wish.Name); err != nil && len(blocks) == 0 {
		d.failAt(span{}, `add cluster "NAME" {}, or rename the file`, "without a cluster block the file's name is that of the cluster: %v", err)
	}
	for i, b := range blocks {
		if i > 0 {
			d.failAt(blockSpan(b), "", "a second cluster block: a file describes one cluster")
			continue
		}
		name, ok := d.label(b, "cluster")
		if !ok {
			continue
		}
		k := d.block("cluster", `cluster "`+name+`"`, b.Body, blockSpan(b), nil)
		d.wish.Name = name
		d.wish.Domain = strings.TrimSuffix(k.text("domain", ""), ".")
		d.wish.SSHKeys = k.list("ssh_keys", false, `ssh_keys = ["ssh-ed25519 AAAA... name@host"]`)
		k.finish()
	}
}

// validate runs the checks that the daemon runs too, plus those that want the
// whole picture, and puts each problem at the place that it speaks about.
func (d *decoder) validate() {
	c := &checker{w: d.wish}
	c.check()
	if len(c.problems) == 0 {
		d.references(c)
	}
	for _, p := range c.problems {
		at := d.find(p.Path)
		diag := at.file.at(at.sp, p.Message)
		diag.Hint = p.Hint
		d.diags = append(d.diags, diag)
	}
}

// references finds what is used but neither declared in the file nor known
// to exist in the cluster.
func (d *decoder) references(c *checker) {
	images := append([]string(nil), d.in.Images...)
	for _, m := range d.wish.Images {
		images = append(images, m.Name)
	}
	networks := make([]string, 0, len(d.in.Networks)+len(d.wish.Networks))
	for _, n := range d.in.Networks {
		if n.Wish != d.wish.Name { // its own go away if the file no longer declares them
			networks = append(networks, n.Name)
		}
	}
	for _, n := range d.wish.Networks {
		networks = append(networks, n.Name)
	}
	for _, n := range d.wish.Networks {
		for _, a := range n.Allow {
			if !contains(networks, a) {
				c.bad("network/"+n.Name+"/allow", suggest(a, networks), "network %q: allow names network %q, which does not exist", n.Name, a)
			}
		}
		for _, o := range n.Open {
			if !contains(networks, o.From) {
				c.bad("network/"+n.Name+"/allow/"+o.From, suggest(o.From, networks), "network %q: allow names network %q, which does not exist", n.Name, o.From)
			}
		}
	}
	seen := make(map[string]bool)
	for i := range d.wish.Jails {
		j := &d.wish.Jails[i]
		if seen[j.Group] {
			continue
		}
		seen[j.Group] = true
		if !contains(images, j.Image) {
			hint := suggest(j.Image, images)
			if hint == "" {
				hint = `declare it: image "` + j.Image + `" { rexfile = "` + j.Image + `.rex" }`
			}
			c.bad("jail/"+j.Group+"/image", hint, "jail %q: image %q does not exist", j.Group, j.Image)
		}
		for _, n := range j.NICs {
			if !contains(networks, n.Network) {
				c.bad("jail/"+j.Group+"/network", suggest(n.Network, networks), "jail %q: network %q does not exist", j.Group, n.Network)
			}
		}
	}
	d.published(c)
}

// published finds publish blocks whose service no jail of the network has.
func (d *decoder) published(c *checker) {
	for _, n := range d.wish.Networks {
		offered := make(map[string]string)
		var names []string
		for i := range d.wish.Jails {
			if j := &d.wish.Jails[i]; j.inNetwork(n.Name) {
				for _, s := range j.Services {
					if _, dup := offered[s.Name]; !dup {
						names = append(names, s.Name)
					}
					offered[s.Name] = orTCP(s.Proto)
				}
			}
		}
		for _, p := range n.Publish {
			path := "network/" + n.Name + "/publish/" + p.Name
			switch proto, ok := offered[p.Service]; {
			case !ok:
				c.bad(path+"/service", suggest(p.Service, names), "network %q: publish %q: no jail of the network has a service %q", n.Name, p.Name, p.Service)
			case proto != orTCP(p.Proto):
				c.bad(path, `proto = "`+proto+`"`, "network %q: publish %q is %s, service %q is %s", n.Name, p.Name, orTCP(p.Proto), p.Service, proto)
			}
		}
	}
}

// find looks up the place of a path, or of the nearest part of it that has
// one.
func (d *decoder) find(path string) place {
	for path != "" {
		if at, ok := d.places[path]; ok {
			return at
		}
		i := strings.LastIndexByte(path, '/')
		path = path[:max(i, 0)]
	}
	return place{d.file, span{}}
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
