package spec

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// A small file can ask for endless work: for inside for inside for, locals
// that double each other. HCL has no limits of its own, so every inner
// expression is wrapped in one that pays for its result.
const (
	maxValueCost = 256 << 10 // of one intermediate value: elements, and 16 bytes of text each
	maxCost      = 3 << 20   // of evaluating a file; HCL takes up to a second per million
	replicaCost  = 200       // more for each replica of a jail
	maxExponent  = 1 << 12   // of numbers, in bits: 10^1233; writing 1e999999999 in full takes 1 GB
)

// budget is what is left to spend on one file.
type budget struct {
	left    int
	refused bool // said once, then everything ends quickly
}

// charge takes the cost of v.
func (b *budget) charge(v cty.Value) error {
	cost, err := costOf(v, maxValueCost)
	if err == nil && cost > maxValueCost {
		err = fmt.Errorf("the value is too large")
	}
	b.left -= cost
	if err == nil && b.left < 0 {
		err = fmt.Errorf("evaluating the file is too much work")
	}
	return err
}

// costOf measures v and stops soon after limit: values share parts, so that
// one of a few kilobytes may be endless when written out.
func costOf(v cty.Value, limit int) (int, error) {
	v, _ = v.Unmark()
	if v.IsNull() || !v.IsKnown() {
		return 1, nil
	}
	switch t := v.Type(); {
	case t == cty.String:
		return 1 + len(v.AsString())/16, nil
	case t == cty.Number:
		f := v.AsBigFloat()
		if f.IsInf() || f.MantExp(nil) > maxExponent || f.MantExp(nil) < -maxExponent {
			return 1, fmt.Errorf("the number is too large")
		}
		return 1, nil
	case t.IsCollectionType() || t.IsTupleType() || t.IsObjectType():
		total := 1
		for it := v.ElementIterator(); it.Next(); {
			_, e := it.Element()
			cost, err := costOf(e, limit-total)
			if total += cost + 1; err != nil || total > limit {
				return total, err
			}
		}
		return total, nil
	}
	return 1, nil
}

// paid is an expression whose result is charged to a budget.
type paid struct {
	hclsyntax.Expression

	b *budget
}

// Value evaluates and pays; after the budget is exceeded it does neither.
func (e *paid) Value(ctx *hcl.EvalContext) (cty.Value, hcl.Diagnostics) {
	if e.b.refused {
		return cty.DynamicVal, nil
	}
	v, diags := e.Expression.Value(ctx)
	if diags.HasErrors() {
		return v, diags
	}
	if err := e.b.charge(v); err != nil {
		e.b.refused = true
		r := e.Range()
		return cty.DynamicVal, append(diags, &hcl.Diagnostic{
			Severity: hcl.DiagError, Summary: err.Error(), Subject: &r,
			Detail: "the limits of cluster files are in docs/reference/cluster-hcl.md",
		})
	}
	return v, diags
}

// pay wraps e and everything inside it. Literals are free, and stay what they
// are, because HCL looks at them.
func pay(e hclsyntax.Expression, b *budget) hclsyntax.Expression {
	if e == nil {
		return nil
	}
	switch x := e.(type) {
	case *hclsyntax.LiteralValueExpr:
		if _, err := costOf(x.Val, maxValueCost); err == nil {
			return e
		}
	case *hclsyntax.ObjectConsKeyExpr:
		if _, bare := x.Wrapped.(*hclsyntax.ScopeTraversalExpr); !bare || x.ForceNonLiteral {
			x.Wrapped = pay(x.Wrapped, b)
		}
		return e
	case *hclsyntax.ParenthesesExpr:
		x.Expression = pay(x.Expression, b)
		return e
	case *hclsyntax.TemplateWrapExpr:
		x.Wrapped = pay(x.Wrapped, b)
	case *hclsyntax.TemplateJoinExpr:
		x.Tuple = pay(x.Tuple, b)
	case *hclsyntax.TemplateExpr:
		payAll(x.Parts, b)
	case *hclsyntax.FunctionCallExpr:
		payAll(x.Args, b)
	case *hclsyntax.TupleConsExpr:
		payAll(x.Exprs, b)
	case *hclsyntax.ObjectConsExpr:
		for i := range x.Items {
			x.Items[i].KeyExpr = pay(x.Items[i].KeyExpr, b)
			x.Items[i].ValueExpr = pay(x.Items[i].ValueExpr, b)
		}
	default:
		payOperators(e, b)
	}
	return &paid{e, b}
}

func payOperators(e hclsyntax.Expression, b *budget) {
	switch x := e.(type) {
	case *hclsyntax.ConditionalExpr:
		x.Condition, x.TrueResult, x.FalseResult = pay(x.Condition, b), pay(x.TrueResult, b), pay(x.FalseResult, b)
	case *hclsyntax.BinaryOpExpr:
		x.LHS, x.RHS = pay(x.LHS, b), pay(x.RHS, b)
	case *hclsyntax.UnaryOpExpr:
		x.Val = pay(x.Val, b)
	case *hclsyntax.IndexExpr:
		x.Collection, x.Key = pay(x.Collection, b), pay(x.Key, b)
	case *hclsyntax.RelativeTraversalExpr:
		x.Source = pay(x.Source, b)
	case *hclsyntax.SplatExpr:
		x.Source, x.Each = pay(x.Source, b), pay(x.Each, b)
	case *hclsyntax.ForExpr:
		x.CollExpr, x.KeyExpr, x.ValExpr, x.CondExpr = pay(x.CollExpr, b), pay(x.KeyExpr, b), pay(x.ValExpr, b), pay(x.CondExpr, b)
	}
}

func payAll(es []hclsyntax.Expression, b *budget) {
	for i := range es {
		es[i] = pay(es[i], b)
	}
}
