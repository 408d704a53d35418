package spec

import (
	"fmt"
	"net/netip"
	"sort"
	"time"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

func (k *block) text(name, missing string) string {
	v, ok := k.primitive(name, cty.String, "a text")
	if !ok {
		return missing
	}
	return v.AsString()
}

func (k *block) flag(name string) bool {
	v, ok := k.primitive(name, cty.Bool, "true or false")
	return ok && v.True()
}

// whole is a whole number; ok is false if it is not given or wrong.
func (k *block) whole(name string, least, most int) (n int, ok bool) {
	v, ok := k.primitive(name, cty.Number, "a number")
	if !ok {
		return 0, false
	}
	n, err := smallInt(v, 1<<53)
	if err == nil && n < least || n > most {
		err = fmt.Errorf("%d is not between %d and %d", n, least, most)
	}
	if err != nil {
		k.fail(k.body.Attributes[name], "", "%v", err)
		return 0, false
	}
	return n, true
}

func (k *block) number(name string, missing, least, most int) int {
	if n, ok := k.whole(name, least, most); ok {
		return n
	}
	return missing
}

func (k *block) fraction(name string) float64 {
	v, ok := k.primitive(name, cty.Number, "a number")
	if !ok {
		return 0
	}
	f, _ := v.AsBigFloat().Float64()
	return f
}

// size is "512M" or a number of bytes.
func (k *block) size(name string) int64 {
	v, ok := k.primitive(name, cty.String, `a size such as "512M"`)
	if !ok {
		return 0
	}
	n, err := ParseSize(v.AsString())
	if err == nil && n == 0 {
		err = fmt.Errorf("the size is 0: leave it out for no limit")
	}
	if err != nil {
		k.fail(k.body.Attributes[name], `such as "512M" or "2G"`, "%v", err)
	}
	return n
}

// duration is "2s", "1m30s", "100ms".
func (k *block) duration(name string, missing time.Duration) time.Duration {
	v, ok := k.primitive(name, cty.String, `a duration such as "2s"`)
	if !ok {
		return missing
	}
	t, err := time.ParseDuration(v.AsString())
	if err != nil {
		k.fail(k.body.Attributes[name], `such as "500ms", "2s" or "1m30s"`, "%q is not a duration", clip(v.AsString()))
		return missing
	}
	return t
}

func (k *block) prefix(name string) netip.Prefix {
	s := k.text(name, "")
	if s == "" {
		return netip.Prefix{}
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		k.fail(k.body.Attributes[name], `such as "10.66.0.0/24"`, "%q is not ADDRESS/LENGTH", clip(s))
	}
	return p
}

// address is "dhcp" (the zero Addr) or an IP address.
func (k *block) address(name string) netip.Addr {
	s := k.text(name, "dhcp")
	if s == "dhcp" {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		k.fail(k.body.Attributes[name], `"dhcp", or an address without /length`, "%q is not an IP address", clip(s))
	}
	return a
}

// list is a list of texts. One text is taken for a list of one where single
// allows it.
func (k *block) list(name string, single bool, hint string) []string {
	v, ok := k.value(name)
	if !ok {
		return nil
	}
	a := k.body.Attributes[name]
	if v.Type().IsPrimitiveType() && single {
		v = cty.TupleVal([]cty.Value{v})
	}
	if !v.Type().IsTupleType() && !v.Type().IsListType() && !v.Type().IsSetType() {
		k.fail(a, hint, "a list is needed, this is %s", v.Type().FriendlyName())
		return nil
	}
	out := make([]string, 0, v.LengthInt())
	for it := v.ElementIterator(); it.Next(); {
		_, e := it.Element()
		s, err := convert.Convert(e, cty.String)
		if err != nil || s.IsNull() {
			k.fail(a, hint, "word %d of the list is not a text", len(out)+1)
			return nil
		}
		out = append(out, s.AsString())
	}
	return out
}

// environment is a map of texts; null takes a variable out.
func (k *block) environment(name string) []EnvVar {
	v, ok := k.value(name)
	if !ok {
		return nil
	}
	a := k.body.Attributes[name]
	if !v.Type().IsObjectType() && !v.Type().IsMapType() {
		k.fail(a, name+" = { NAME = \"value\" }", "a map is needed, this is %s", v.Type().FriendlyName())
		return nil
	}
	var out []EnvVar
	for it := v.ElementIterator(); it.Next(); {
		key, e := it.Element()
		if e.IsNull() {
			continue
		}
		s, err := convert.Convert(e, cty.String)
		if err != nil {
			k.fail(a, "", "the value of %s is not a text", clip(key.AsString()))
			return nil
		}
		out = append(out, EnvVar{key.AsString(), s.AsString()})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}
