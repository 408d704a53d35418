package spec

import (
	"fmt"
	"sort"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// prepared is an expression that was checked once; jails with count evaluate
// theirs once per replica, but only if self is in it.
type prepared struct {
	expr  hclsyntax.Expression
	self  bool
	bad   bool
	known bool // value is set
	value cty.Value
}

// eval evaluates e, reporting what is wrong; ok is false then. self is nil
// outside of jails.
func (d *decoder) eval(e hclsyntax.Expression, self map[string]cty.Value) (v cty.Value, ok bool) {
	p := d.ready[e]
	if p == nil {
		p = &prepared{}
		d.ready[e] = p
		p.self, p.bad = d.checkVariables(e, self)
		if !p.bad {
			p.expr = pay(e, &d.budget)
		}
	}
	if p.bad || d.budget.refused {
		return cty.DynamicVal, false
	}
	if p.known {
		return p.value, true
	}
	vars := d.roots
	if p.self {
		vars = map[string]cty.Value{"var": d.roots["var"], "local": d.roots["local"], "self": cty.ObjectVal(self)}
	}
	v, diags := guardedValue(p.expr, &hcl.EvalContext{Variables: vars, Functions: functions})
	if diags.HasErrors() {
		d.hcl(diags)
		return cty.DynamicVal, false
	}
	v, _ = v.Unmark()
	if !v.IsWhollyKnown() {
		d.failAt(rangeSpan(e.Range()), "", "the value is not known")
		return cty.DynamicVal, false
	}
	if !p.self {
		p.known, p.value = true, v
	}
	return v, true
}

// guardedValue evaluates e. The function library panics on some odd arguments
// (unexpected types deep inside of values); for the user that is one wrong
// expression, not a crash.
func guardedValue(e hclsyntax.Expression, ctx *hcl.EvalContext) (v cty.Value, diags hcl.Diagnostics) {
	defer func() {
		if r := recover(); r != nil {
			at := e.Range()
			v, diags = cty.DynamicVal, hcl.Diagnostics{{
				Severity: hcl.DiagError, Summary: "the expression cannot be evaluated", Detail: fmt.Sprint(r), Subject: &at,
			}}
		}
	}()
	return e.Value(ctx)
}

// checkVariables says whether e uses self, and reports names that are not
// there, at their place and with a suggestion.
func (d *decoder) checkVariables(e hclsyntax.Expression, self map[string]cty.Value) (usesSelf, bad bool) {
	for _, t := range e.Variables() {
		root, at := t.RootName(), rangeSpan(t[0].(hcl.TraverseRoot).SrcRange)
		var names []string
		switch {
		case root == "var" || root == "local":
			names = attributeNames(d.roots[root])
		case root == "self" && self != nil:
			usesSelf = true
			names = keysOf(self)
		case root == "self":
			d.failAt(at, "self is a jail with all its attributes: write the value out here", "self can only be used inside of a jail block")
			bad = true
			continue
		default:
			d.unknownRoot(at, root, self != nil)
			bad = true
			continue
		}
		name, where, ok := secondStep(t)
		if !ok {
			d.failAt(at, "write "+root+".NAME", "%s is not a value by itself", root)
			bad = true
		} else if !contains(names, name) {
			what := map[string]string{"var": "variable", "local": "local value", "self": "attribute of self"}[root]
			d.failAt(where, suggest(name, names), "there is no %s %q here", what, clip(name))
			bad = true
		}
	}
	return usesSelf, bad
}

func (d *decoder) unknownRoot(at span, root string, jail bool) {
	roots := []string{"var", "local"}
	if jail {
		roots = append(roots, "self")
	}
	for _, n := range attributeNames(d.roots["var"]) {
		if n == root {
			d.failAt(at, "did you mean var."+root+"?", "unknown name %q", clip(root))
			return
		}
	}
	for _, n := range attributeNames(d.roots["local"]) {
		if n == root {
			d.failAt(at, "did you mean local."+root+"?", "unknown name %q", clip(root))
			return
		}
	}
	d.failAt(at, `a text is written in quotes; values are `+strings.Join(roots, ".NAME, ")+".NAME", "unknown name %q", clip(root))
}

// secondStep is NAME of root.NAME or root["NAME"].
func secondStep(t hcl.Traversal) (name string, at span, ok bool) {
	if len(t) < 2 {
		return "", span{}, false
	}
	switch s := t[1].(type) {
	case hcl.TraverseAttr:
		r := rangeSpan(s.SrcRange)
		if r.end-r.start > len(s.Name) { // without the dot
			r.start = r.end - len(s.Name)
		}
		return s.Name, r, true
	case hcl.TraverseIndex:
		if s.Key.Type() == cty.String && s.Key.IsKnown() && !s.Key.IsNull() {
			return s.Key.AsString(), rangeSpan(s.SrcRange), true
		}
	}
	return "", span{}, false
}

func attributeNames(v cty.Value) []string {
	if v == cty.NilVal || !v.Type().IsObjectType() {
		return nil
	}
	return keysOf(v.Type().AttributeTypes())
}

func keysOf[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

// failAt reports an error at sp.
func (d *decoder) failAt(sp span, hint, format string, args ...any) {
	diag := d.file.at(sp, fmt.Sprintf(format, args...))
	diag.Hint = hint
	d.diags = append(d.diags, diag)
}

// hcl takes over what HCL found. Only the first errors: one missing brace can
// make hundreds.
func (d *decoder) hcl(diags hcl.Diagnostics) {
	const most = 10
	for i, h := range diags {
		if i == most {
			break
		}
		if h.Severity != hcl.DiagError {
			continue
		}
		sp := span{}
		if h.Subject != nil {
			sp = rangeSpan(*h.Subject)
		}
		diag := d.file.at(sp, lowerFirst(strings.TrimSuffix(h.Summary, ".")))
		diag.Detail = h.Detail
		d.diags = append(d.diags, diag)
	}
}

func lowerFirst(s string) string {
	if len(s) > 1 && s[0] >= 'A' && s[0] <= 'Z' && (s[1] < 'A' || s[1] > 'Z') {
		return string(s[0]+'a'-'A') + s[1:]
	}
	return s
}

func rangeSpan(r hcl.Range) span { return span{r.Start.Byte, r.End.Byte} }

// blockSpan is the head of a block: its type and labels.
func blockSpan(b *hclsyntax.Block) span {
	sp := rangeSpan(b.TypeRange)
	for _, l := range b.LabelRanges {
		sp.end = l.End.Byte
	}
	return sp
}
