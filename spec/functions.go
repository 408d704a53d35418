package spec

import (
	"fmt"
	"net/netip"
	"strconv"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// functions of cluster files: pure, and each bounded by what it is given or
// by a check of its own. No files, clock, randomness or environment.
var functions = map[string]function.Function{
	"abs":        stdlib.AbsoluteFunc,
	"ceil":       stdlib.CeilFunc,
	"cidrhost":   cidrHostFunc,
	"cidrsubnet": cidrSubnetFunc,
	"coalesce":   stdlib.CoalesceFunc,
	"compact":    stdlib.CompactFunc,
	"concat":     stdlib.ConcatFunc,
	"contains":   stdlib.ContainsFunc,
	"element":    stdlib.ElementFunc,
	"flatten":    stdlib.FlattenFunc,
	"floor":      stdlib.FloorFunc,
	"format":     bounded(stdlib.FormatFunc, checkFormat),
	"join":       bounded(stdlib.JoinFunc, checkJoin),
	"jsondecode": stdlib.JSONDecodeFunc,
	"jsonencode": stdlib.JSONEncodeFunc,
	"keys":       stdlib.KeysFunc,
	"length":     lengthFunc,
	"lookup":     stdlib.LookupFunc,
	"lower":      stdlib.LowerFunc,
	"max":        stdlib.MaxFunc,
	"merge":      stdlib.MergeFunc,
	"min":        stdlib.MinFunc,
	"range":      stdlib.RangeFunc, // stops at 1024 values by itself
	"replace":    bounded(stdlib.ReplaceFunc, checkReplace),
	"reverse":    stdlib.ReverseListFunc,
	"slice":      stdlib.SliceFunc,
	"sort":       stdlib.SortFunc,
	"split":      stdlib.SplitFunc,
	"substr":     stdlib.SubstrFunc,
	"title":      stdlib.TitleFunc,
	"tobool":     stdlib.MakeToFunc(cty.Bool),
	"tonumber":   stdlib.MakeToFunc(cty.Number),
	"tostring":   stdlib.MakeToFunc(cty.String),
	"trim":       stdlib.TrimFunc,
	"trimprefix": stdlib.TrimPrefixFunc,
	"trimspace":  stdlib.TrimSpaceFunc,
	"trimsuffix": stdlib.TrimSuffixFunc,
	"upper":      stdlib.UpperFunc,
	"values":     stdlib.ValuesFunc,
	"zipmap":     stdlib.ZipmapFunc,
}

// bounded runs check on the arguments before f does its work.
func bounded(f function.Function, check func(args []cty.Value) error) function.Function {
	return function.New(&function.Spec{
		Params:   f.Params(),
		VarParam: f.VarParam(),
		Type:     f.ReturnTypeForValues,
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			if err := check(args); err != nil {
				return cty.DynamicVal, err
			}
			return f.Call(args)
		},
	})
}

const maxFormatWidth = 1000

// checkFormat refuses widths and precisions that would make a value huge:
// format("%1000000000d", 1).
func checkFormat(args []cty.Value) error {
	if !args[0].IsKnown() || args[0].IsNull() {
		return nil
	}
	n, verb := 0, false
	for _, c := range args[0].AsString() {
		switch {
		case c == '%':
			verb, n = !verb, 0
		case verb && c >= '0' && c <= '9':
			if n = n*10 + int(c-'0'); n > maxFormatWidth {
				return function.NewArgErrorf(0, "a width of more than %d", maxFormatWidth)
			}
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			verb = false
		default:
			n = 0
		}
	}
	return nil
}

const maxText = 4 << 20 // bytes of one string that a function makes

func checkJoin(args []cty.Value) error {
	if !args[0].IsKnown() || args[0].IsNull() {
		return nil
	}
	n := 0
	for _, list := range args[1:] {
		if list.IsKnown() && !list.IsNull() && list.CanIterateElements() {
			n += list.LengthInt()
		}
	}
	if n*len(args[0].AsString()) > maxText {
		return fmt.Errorf("the result has more than %d bytes", maxText)
	}
	return nil
}

func checkReplace(args []cty.Value) error {
	for _, a := range args {
		if !a.IsKnown() || a.IsNull() {
			return nil
		}
	}
	if (len(args[0].AsString())+1)*(len(args[2].AsString())+1) > maxText {
		return fmt.Errorf("the result may have more than %d bytes", maxText)
	}
	return nil
}

// lengthFunc counts elements, or the characters of a string.
var lengthFunc = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "value", Type: cty.DynamicPseudoType}},
	Type:   function.StaticReturnType(cty.Number),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		switch t := args[0].Type(); {
		case t == cty.String:
			return stdlib.Strlen(args[0])
		case t.IsCollectionType() || t.IsTupleType():
			return stdlib.Length(args[0])
		case t.IsObjectType():
			return cty.NumberIntVal(int64(len(t.AttributeTypes()))), nil
		}
		return cty.DynamicVal, function.NewArgErrorf(0, "a list, a map or a text is needed")
	},
})

// cidrHostFunc: cidrhost("10.66.0.0/24", 7) is "10.66.0.7"; negative numbers
// count from the end.
var cidrHostFunc = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "prefix", Type: cty.String}, {Name: "number", Type: cty.Number}},
	Type:   function.StaticReturnType(cty.String),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		p, err := netip.ParsePrefix(args[0].AsString())
		if err != nil {
			return cty.DynamicVal, function.NewArgErrorf(0, "%q is not ADDRESS/LENGTH", clip(args[0].AsString()))
		}
		n, err := smallInt(args[1], 1<<31)
		if err != nil {
			return cty.DynamicVal, function.NewArgError(1, err)
		}
		bits := p.Addr().BitLen() - p.Bits()
		if bits < 31 && (n >= 1<<bits || n < -(1<<bits)) {
			return cty.DynamicVal, function.NewArgErrorf(1, "%s has no address number %d", p, n)
		}
		return cty.StringVal(addHost(p, n).String()), nil
	},
})

// cidrSubnetFunc: cidrsubnet("10.0.0.0/8", 16, 5) is "10.0.5.0/24".
var cidrSubnetFunc = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "prefix", Type: cty.String}, {Name: "newbits", Type: cty.Number}, {Name: "number", Type: cty.Number}},
	Type:   function.StaticReturnType(cty.String),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		p, err := netip.ParsePrefix(args[0].AsString())
		if err != nil {
			return cty.DynamicVal, function.NewArgErrorf(0, "%q is not ADDRESS/LENGTH", clip(args[0].AsString()))
		}
		newbits, err := smallInt(args[1], 128)
		if err != nil || newbits < 0 || p.Bits()+newbits > p.Addr().BitLen() {
			return cty.DynamicVal, function.NewArgErrorf(1, "%s cannot be made longer by that many bits", p)
		}
		n, err := smallInt(args[2], 1<<31)
		if err != nil || n < 0 || newbits < 31 && n >= 1<<newbits {
			return cty.DynamicVal, function.NewArgErrorf(2, "there is no subnet of that number with %d more bits", newbits)
		}
		bits := p.Bits() + newbits
		a := p.Masked().Addr().AsSlice()
		for i := range 31 { // bit i of n, counted from the end of the new prefix
			if n>>i&1 == 1 {
				at := bits - 1 - i
				a[at/8] |= 1 << (7 - at%8)
			}
		}
		addr, _ := netip.AddrFromSlice(a)
		return cty.StringVal(netip.PrefixFrom(addr, bits).String()), nil
	},
})

// addHost adds n to the first address of p, or, if n is negative, to the
// first after it.
func addHost(p netip.Prefix, n int) netip.Addr {
	a := p.Masked().Addr().AsSlice()
	if n < 0 {
		for i := p.Bits(); i < len(a)*8; i++ {
			a[i/8] |= 1 << (7 - i%8)
		}
		n++
	}
	for i, carry := len(a)-1, n; i >= 0 && carry != 0; i-- {
		carry += int(a[i])
		a[i] = byte(carry)
		carry >>= 8
	}
	addr, _ := netip.AddrFromSlice(a)
	return addr
}

// smallInt is v as a whole number within -most..most.
func smallInt(v cty.Value, most int) (int, error) {
	v, err := convert.Convert(v, cty.Number)
	if err != nil || v.IsNull() || !v.IsKnown() {
		return 0, fmt.Errorf("a number is needed")
	}
	f := v.AsBigFloat()
	if f.IsInf() || f.MantExp(nil) > 63 {
		return 0, fmt.Errorf("the number is not between %d and %d", -most, most)
	}
	n, _ := f.Int64()
	if !f.IsInt() {
		return 0, fmt.Errorf("%s is not a whole number", f.Text('g', 10))
	}
	if n > int64(most) || n < -int64(most) {
		return 0, fmt.Errorf("the number %s is not between %d and %d", strconv.FormatInt(n, 10), -most, most)
	}
	return int(n), nil
}
