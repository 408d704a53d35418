package spec

import (
	"path"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

func (d *decoder) image(b *hclsyntax.Block) {
	name, ok := d.label(b, "image")
	if !ok || !d.once("image/"+name, b, "image", name) {
		return
	}
	k := d.block("image/"+name, `image "`+name+`"`, b.Body, blockSpan(b), nil)
	rexfile, base := k.text("rexfile", ""), k.text("base", "")
	env, command := k.environment("env"), k.list("command", false, `command = ["PROGRAM", "ARGUMENT"]`)
	k.finish()
	var m *Image
	switch {
	case (rexfile == "") == (base == ""):
		d.failAt(blockSpan(b), `rexfile = "`+stem(name)+`.rex"`, "%s: one of rexfile and base is needed", k.what)
		return
	case rexfile != "":
		if m = d.rexfile(k, rexfile); m == nil {
			return
		}
	default:
		m = &Image{Base: base}
	}
	m.Name = name
	m.Env = append(m.Env, env...)
	if len(command) > 0 {
		m.Command = command
	}
	d.wish.Images = append(d.wish.Images, *m)
}

// rexfile reads and parses the .rex file of an image block. Its problems are
// reported in that file.
func (d *decoder) rexfile(k *block, name string) *Image {
	a := k.body.Attributes["rexfile"]
	if path.IsAbs(name) || ValidContextPath(name) != nil {
		k.fail(a, "put the .rex file beside the cluster file", "%q is not a path beneath the directory of the cluster file", clip(name))
		return nil
	}
	if d.in.Files == nil {
		k.fail(a, "", "%q cannot be read here", clip(name))
		return nil
	}
	src, err := d.in.Files(name)
	if err != nil {
		k.fail(a, "", "%v", err)
		return nil
	}
	p := parseRex(rexName(d.file.name, name), src)
	m := p.finish(name, path.Dir(name), d.in)
	d.diags = append(d.diags, p.diags...)
	if p.diags.HasErrors() {
		return nil
	}
	for at, sp := range p.places {
		d.places[k.path+"/"+at] = place{p.file, sp}
	}
	return m
}

// rexName is how messages call a .rex file: as seen from where the user is.
func rexName(cluster, rexfile string) string {
	if dir := path.Dir(cluster); dir != "." {
		return path.Join(dir, rexfile)
	}
	return rexfile
}

// sealImages computes the keys of all images, bases first.
func (d *decoder) sealImages() {
	if cycle := sealKeys(d.wish.Images); cycle != nil {
		at := d.find("image/" + cycle[0] + "/base")
		diag := at.file.at(at.sp, "the images are based on each other in a circle: "+joinArrows(cycle))
		d.diags = append(d.diags, diag)
	}
}
