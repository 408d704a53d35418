package spec

import (
	"encoding/json"
	"strings"
	"testing"
)

func BenchmarkParseContractFile(b *testing.B) {
	in := testInputs(contractRex)
	for b.Loop() {
		if w, diags := Parse("cluster.hcl", []byte(contractFile), in); w == nil {
			b.Fatal(diags)
		}
	}
}

// manyJails is the contract's file with 60,000 Elixir nodes.
func manyJails() (string, Inputs) {
	in := testInputs(contractRex)
	in.Vars = map[string]string{"nodes": "60000"}
	return strings.Replace(contractFile, "10.66.0.0/24", "10.0.0.0/12", 1), in
}

func BenchmarkParse60000Jails(b *testing.B) {
	src, in := manyJails()
	for b.Loop() {
		if w, diags := Parse("cluster.hcl", []byte(src), in); w == nil {
			b.Fatal(diags)
		}
	}
}

func BenchmarkValidate60000Jails(b *testing.B) {
	src, in := manyJails()
	w, diags := Parse("cluster.hcl", []byte(src), in)
	if w == nil {
		b.Fatal(diags)
	}
	text, err := json.Marshal(w)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(len(text)), "bytes")
	b.ResetTimer()
	for b.Loop() {
		if err := w.Validate(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkConstraintEval(b *testing.B) {
	c, err := ParseConstraint("os == linux && label.rack != r9 && cpu >= 4")
	if err != nil {
		b.Fatal(err)
	}
	lookup := func(name string) (string, bool) { v, ok := constraintHost[name]; return v, ok }
	b.ReportAllocs()
	for b.Loop() {
		if !c.Eval(lookup) {
			b.Fatal("does not hold")
		}
	}
}
