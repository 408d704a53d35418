package spec

import (
	"strings"
	"testing"
)

func TestCaretStandsBeneathItsWord(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ src, word, want string }{
		"plain":      {"a = foo\n", "foo", "f:1:5: x\n    a = foo\n        ~~^\n"},
		"tabs":       {"\ta =\tfoo", "foo", "f:1:6: x\n    \ta =\tfoo\n    \t   \t~~^\n"},
		"characters": {"ü = \"é\" + foo", "foo", "f:1:11: x\n    ü = \"é\" + foo\n              ~~^\n"},
		"second":     {"one\ntwo foo\n", "foo", "f:2:5: x\n    two foo\n        ~~^\n"},
		"one":        {"abc", "b", "f:1:2: x\n    abc\n     ^\n"},
		"escapes":    {"\x1b[31m foo", "foo", "f:1:7: x\n    ?[31m foo\n          ~~^\n"},
		"over lines": {"a (\n b\n)", "(\n b\n)", "f:1:3: x\n    a (\n      ^\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := strings.Index(c.src, c.word)
			d := newSource("f", []byte(c.src)).at(span{at, at + len(c.word)}, "x")
			if got := (Diagnostics{d}).Format(nil, false); got != c.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, c.want)
			}
		})
	}
}

func TestLongLinesAreCutAroundTheCaret(t *testing.T) {
	t.Parallel()
	src := strings.Repeat("x", 1<<20) + "foo" + strings.Repeat("y", 1<<20)
	d := newSource("f", []byte(src)).at(span{1 << 20, 1<<20 + 3}, "x")
	lines := strings.Split((Diagnostics{d}).Format(nil, false), "\n")
	if len(lines[1]) > maxShown+8 {
		t.Fatalf("%d characters are shown", len(lines[1]))
	}
	if at := strings.Index(lines[1], "foo"); at < 0 || lines[2] != strings.Repeat(" ", at)+"~~^" {
		t.Errorf("%s\n%s", lines[1], lines[2])
	}
}

func TestColourAddsOnlyColour(t *testing.T) {
	t.Parallel()
	_, diags := Parse("a.hcl", []byte("jail \"a\" {}\nnetwrk {}\n"), Inputs{})
	plain, coloured := diags.Format(nil, false), diags.Format(nil, true)
	if plain == coloured {
		t.Error("no colour")
	}
	for _, code := range []string{colourRed, colourYellow, colourBold, colourOff} {
		coloured = strings.ReplaceAll(coloured, code, "")
	}
	if plain != coloured {
		t.Errorf("got %q, want %q", coloured, plain)
	}
}

func TestSourceIsLookedUpWhereADiagnosticHasNone(t *testing.T) {
	t.Parallel()
	d := Diagnostic{File: "f", Line: 2, Column: 1, Width: 3, Summary: "x", Warning: true}
	if got, want := (Diagnostics{d}).Format([]byte("one\ntwo\n"), false), "f:2:1: warning: x\n    two\n    ~~^\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := (Diagnostics{d}).Err(); err != nil {
		t.Errorf("a warning is an error: %v", err)
	}
}
