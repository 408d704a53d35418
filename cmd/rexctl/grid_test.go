package main

import (
	"bytes"
	"testing"
)

// TestATableInPartsIsOne: titles once, and columns that do not get narrower.
func TestATableInPartsIsOne(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	g := newGrid(&env{stdout: &out}, []column[[2]string]{
		{title: "A", get: func(r [2]string) string { return r[0] }},
		{title: "B", get: func(r [2]string) string { return r[1] }},
	}, false, true)
	for _, part := range [][][2]string{{{"first", "1"}, {"x", ""}}, {}, {{"y", "2"}}, {{"longer than all", "3"}}, {{"z", "4"}}} {
		if err := g.add(part); err != nil {
			t.Fatal(err)
		}
	}
	const want = "A      B\nfirst  1\nx      -\ny      2\nlonger than all  3\nz                4\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}
