package spec

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

const maxVariables = 10_000 // and as many locals

// variableTypes are the words after type =.
var variableTypes = map[string]cty.Type{
	"string": cty.String, "number": cty.Number, "bool": cty.Bool,
	"list": cty.DynamicPseudoType, "map": cty.DynamicPseudoType, "any": cty.DynamicPseudoType,
}

// variables fills var: the value from the command line, or the default.
func (d *decoder) variables(blocks []*hclsyntax.Block) {
	values := make(map[string]cty.Value, len(blocks))
	d.roots["var"], d.roots["local"] = cty.EmptyObjectVal, cty.EmptyObjectVal
	if len(blocks) > maxVariables {
		d.failAt(blockSpan(blocks[0]), "", "%d variables, %d are the most", len(blocks), maxVariables)
		return
	}
	for _, b := range blocks {
		name, ok := d.identifier(b)
		if !ok {
			continue
		}
		if _, dup := values[name]; dup {
			d.failAt(blockSpan(b), "", "variable %q is declared twice", name)
			continue
		}
		values[name] = d.variable(name, b)
	}
	for _, name := range keysOf(d.in.Vars) {
		if _, ok := values[name]; !ok {
			d.diags = append(d.diags, Diagnostic{
				File: d.file.name, Hint: suggest(name, keysOf(values)),
				Summary: "-var " + clip(name) + ": the file declares no such variable",
			})
		}
	}
	d.roots["var"] = cty.ObjectVal(values)
}

// identifier is the label of a block, which expressions can name.
func (d *decoder) identifier(b *hclsyntax.Block) (string, bool) {
	if len(b.Labels) != 1 {
		d.failAt(blockSpan(b), b.Type+` "NAME" { ... }`, "a %s block has one label, its name", b.Type)
		return "", false
	}
	if !hclsyntax.ValidIdentifier(b.Labels[0]) {
		d.failAt(rangeSpan(b.LabelRanges[0]), "", "the name %q cannot be used in expressions: letters, digits, _ and - only", clip(b.Labels[0]))
		return "", false
	}
	return b.Labels[0], true
}

func (d *decoder) variable(name string, b *hclsyntax.Block) cty.Value {
	k := d.block("variable/"+name, `variable "`+name+`"`, b.Body, blockSpan(b), nil)
	want := cty.DynamicPseudoType
	if a := k.attribute("type"); a != nil {
		word := hcl.ExprAsKeyword(a.Expr)
		t, ok := variableTypes[word]
		if !ok {
			k.fail(a, suggest(word, keysOf(variableTypes)), "the type of a variable is string, number, bool, list, map or any, without quotes")
			t = cty.DynamicPseudoType
		}
		want = t
	}
	k.text("description", "")
	value, given := k.value("default")
	k.finish()
	text, fromOutside := d.in.Vars[name]
	if fromOutside {
		if want == cty.DynamicPseudoType && given && !value.IsNull() {
			want = value.Type()
		}
		return d.outside(name, text, want, blockSpan(b))
	}
	if !given {
		d.failAt(blockSpan(b), "pass -var "+name+"=VALUE, or write a default", "variable %q has no value", name)
		return cty.DynamicVal
	}
	v, err := convert.Convert(value, want)
	if err != nil {
		d.failAt(rangeSpan(b.Body.Attributes["default"].SrcRange), "", "the default of variable %q: %v", name, err)
		return cty.DynamicVal
	}
	return v
}

// outside converts the text of a -var. What is not a string, number or bool
// is written as in the file: -var 'zones=["a", "b"]'.
func (d *decoder) outside(name, text string, want cty.Type, at span) cty.Value {
	fail := func(reason string) cty.Value {
		d.failAt(at, "", "-var %s=%s: %s", name, clip(text), reason)
		return cty.DynamicVal
	}
	switch want {
	case cty.String, cty.Number, cty.Bool:
		v, err := convert.Convert(cty.StringVal(text), want)
		if err != nil {
			return fail(err.Error())
		}
		if _, err := costOf(v, maxValueCost); err != nil {
			return fail(err.Error())
		}
		return v
	}
	f := newSource("-var "+name, []byte(text))
	if found := guard(f); found != nil {
		return fail(found[0].Summary)
	}
	expr, diags := hclsyntax.ParseExpression(f.src, f.name, hcl.InitialPos)
	if diags.HasErrors() || len(expr.Variables()) > 0 {
		return cty.StringVal(text) // a bare word
	}
	v, diags := guardedValue(pay(expr, &d.budget), &hcl.EvalContext{})
	if diags.HasErrors() || !v.IsWhollyKnown() {
		return fail("write a number, a text, a list or a map")
	}
	if v, err := convert.Convert(v, want); err == nil {
		return v
	}
	if !want.IsPrimitiveType() && v.Type().FriendlyName() == want.FriendlyName() {
		return v // lists of another length are of another type in HCL
	}
	return fail("a " + want.FriendlyName() + " is needed")
}

// locals fills local. They may refer to each other in any order, but not in a
// circle.
func (d *decoder) locals(blocks []*hclsyntax.Block) {
	attrs := make(map[string]*hclsyntax.Attribute)
	for _, b := range blocks {
		if len(b.Labels) > 0 {
			d.failAt(blockSpan(b), "", "a locals block has no label")
		}
		for _, in := range b.Body.Blocks {
			d.failAt(blockSpan(in), in.Type+" = { ... } is a map", "a locals block holds values only, no block %q", in.Type)
		}
		for _, a := range sortedAttributes(b.Body) {
			if attrs[a.Name] != nil {
				d.failAt(rangeSpan(a.NameRange), "", "local value %q is declared twice", a.Name)
				continue
			}
			attrs[a.Name] = a
		}
	}
	if len(attrs) > maxVariables {
		d.failAt(blockSpan(blocks[0]), "", "%d local values, %d are the most", len(attrs), maxVariables)
		return
	}
	d.evalLocals(attrs)
}

func (d *decoder) evalLocals(attrs map[string]*hclsyntax.Attribute) {
	names := keysOf(attrs)
	uses := make(map[string][]string, len(attrs))
	for _, n := range names {
		for _, t := range attrs[n].Expr.Variables() {
			if used, _, ok := secondStep(t); ok && t.RootName() == "local" && attrs[used] != nil {
				uses[n] = append(uses[n], used)
			}
		}
	}
	if cycle := findCycle(names, func(n string) []string { return uses[n] }); cycle != nil {
		d.failAt(rangeSpan(attrs[cycle[0]].NameRange), "", "local values refer to each other in a circle: %s", joinArrows(cycle))
		return
	}
	values := make(map[string]cty.Value, len(attrs))
	all := make(map[string]cty.Value, len(attrs)) // for messages: every name exists
	for _, n := range names {
		all[n] = cty.DynamicVal
	}
	for _, n := range topological(names, uses) {
		visible := make(map[string]cty.Value, len(uses[n]))
		for _, u := range uses[n] {
			visible[u] = values[u]
		}
		if d.usesUnknownLocal(attrs[n].Expr, attrs) {
			d.roots["local"] = cty.ObjectVal(all)
		} else {
			d.roots["local"] = cty.ObjectVal(visible)
		}
		v, ok := d.eval(attrs[n].Expr, nil)
		if !ok {
			return
		}
		values[n] = v
	}
	d.roots["local"] = cty.ObjectVal(values)
}

// usesUnknownLocal says whether the message about e should list all locals.
func (d *decoder) usesUnknownLocal(e hclsyntax.Expression, attrs map[string]*hclsyntax.Attribute) bool {
	for _, t := range e.Variables() {
		if used, _, ok := secondStep(t); ok && t.RootName() == "local" && attrs[used] == nil {
			return true
		}
	}
	return false
}
