package spec

import (
	"fmt"
	"slices"
	"sort"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// block reads the attributes of one HCL block by name and type. It notes what
// was asked for, so that finish can report what nobody asked for.
type block struct {
	d     *decoder
	path  string // in Problem.Path
	what  string // for messages: jail "web"
	body  *hclsyntax.Body
	head  span
	self  map[string]cty.Value
	asked map[string]bool
}

func (d *decoder) block(path, what string, body *hclsyntax.Body, head span, self map[string]cty.Value) *block {
	if path != "" {
		d.places[path] = place{d.file, head}
	}
	return &block{d: d, path: path, what: what, body: body, head: head, self: self, asked: make(map[string]bool)}
}

// label is the one label of a block, a valid name.
func (d *decoder) label(b *hclsyntax.Block, kind string) (string, bool) {
	if len(b.Labels) != 1 {
		d.failAt(blockSpan(b), kind+` "NAME" { ... }`, "a %s block has one label, its name", kind)
		return "", false
	}
	check := ValidName
	if kind == "image" {
		check = ValidImageName
	}
	if err := check(b.Labels[0]); err != nil {
		d.failAt(rangeSpan(b.LabelRanges[0]), "", "%s: %v", kind, err)
		return "", false
	}
	return b.Labels[0], true
}

// inner returns the blocks of one type, in the order of the file.
func (k *block) inner(kind string) []*hclsyntax.Block {
	var out []*hclsyntax.Block
	for _, b := range k.body.Blocks {
		if b.Type == kind {
			out = append(out, b)
		}
	}
	return out
}

// single returns a reader for the block of a type that is there at most once
// and has no label, or nil.
func (k *block) single(kind string) *block {
	blocks := k.inner(kind)
	if len(blocks) == 0 {
		return nil
	}
	for _, b := range blocks[1:] {
		k.d.failAt(blockSpan(b), "", "%s: a second %s block", k.what, kind)
	}
	if len(blocks[0].Labels) > 0 {
		k.d.failAt(blockSpan(blocks[0]), kind+" { ... }", "%s: a %s block has no label", k.what, kind)
	}
	return k.d.block(k.path+"/"+kind, k.what+": "+kind, blocks[0].Body, blockSpan(blocks[0]), k.self)
}

// attribute returns an attribute, and notes its place; nil if it is not there.
func (k *block) attribute(name string) *hclsyntax.Attribute {
	k.asked[name] = true
	a := k.body.Attributes[name]
	if a != nil {
		k.d.places[k.path+"/"+name] = place{k.d.file, rangeSpan(a.Expr.Range())}
	}
	return a
}

func (k *block) fail(a *hclsyntax.Attribute, hint, format string, args ...any) {
	k.d.failAt(rangeSpan(a.Expr.Range()), hint, "%s: %s: %s", k.what, a.Name, fmt.Sprintf(format, args...))
}

// value evaluates an attribute; given is false if it is missing, null or wrong.
func (k *block) value(name string) (v cty.Value, given bool) {
	a := k.attribute(name)
	if a == nil {
		return cty.NilVal, false
	}
	v, ok := k.d.eval(a.Expr, k.self)
	return v, ok && !v.IsNull()
}

func (k *block) primitive(name string, want cty.Type, word string) (v cty.Value, given bool) {
	v, given = k.value(name)
	if !given {
		return v, false
	}
	out, err := convert.Convert(v, want)
	if err != nil || out.IsNull() {
		k.fail(k.body.Attributes[name], "", "%s is needed, this is %s", word, v.Type().FriendlyName())
		return v, false
	}
	return out, true
}

// need reports attributes that are missing.
func (k *block) need(names ...string) bool {
	ok := true
	for _, n := range names {
		if k.body.Attributes[n] == nil {
			k.asked[n] = true
			k.d.failAt(k.head, n+" = ...", "%s: %s is missing", k.what, n)
			ok = false
		}
	}
	return ok
}

// finish reports attributes and blocks that are not part of the language.
func (k *block) finish(blocks ...string) {
	known := keysOf(k.asked)
	for _, a := range sortedAttributes(k.body) {
		if k.asked[a.Name] {
			continue
		}
		if contains(blocks, a.Name) {
			k.d.failAt(rangeSpan(a.NameRange), "write it without =: "+a.Name+" { ... }", "%s: %s is a block, not an attribute", k.what, a.Name)
			continue
		}
		k.d.failAt(rangeSpan(a.NameRange), suggest(a.Name, append(slices.Clone(known), blocks...)), "unknown attribute %q in %s", clip(a.Name), k.what)
	}
	for _, b := range k.body.Blocks {
		switch {
		case contains(blocks, b.Type):
		case k.asked[b.Type]:
			k.d.failAt(rangeSpan(b.TypeRange), "write it with =: "+b.Type+" = ...", "%s: %s is an attribute, not a block", k.what, b.Type)
		default:
			k.d.failAt(blockSpan(b), suggest(b.Type, append(slices.Clone(blocks), known...)), "unknown block %q in %s", clip(b.Type), k.what)
		}
	}
}

// sortedAttributes are those of body in the order of the file.
func sortedAttributes(body *hclsyntax.Body) []*hclsyntax.Attribute {
	out := make([]*hclsyntax.Attribute, 0, len(body.Attributes))
	for _, a := range body.Attributes {
		out = append(out, a)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].SrcRange.Start.Byte < out[j].SrcRange.Start.Byte })
	return out
}
