package spec

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Each of these ends the process, or keeps it busy for minutes, when HCL gets
// it as it is.
var hostileTexts = map[string]string{
	"parentheses":       "a = " + strings.Repeat("(", 200_000),
	"balanced":          "a = " + strings.Repeat("(", 100_000) + "1" + strings.Repeat(")", 100_000),
	"tuples":            "a = " + strings.Repeat("[", 200_000),
	"objects":           "a = " + strings.Repeat("{a=", 200_000),
	"blocks":            strings.Repeat("a {\n", 200_000),
	"templates":         "a = " + strings.Repeat(`"${`, 200_000),
	"directives":        `a = "` + strings.Repeat("%{if true}", 100_000) + `"`,
	"nested directives": `a = ` + strings.Repeat(`"%{if `, 100_000),
	"not":               "a = " + strings.Repeat("!", 300_000) + "true",
	"minus":             "a = " + strings.Repeat("-", 300_000) + "1",
	"sum":               "a = 1" + strings.Repeat("+1", 300_000),
	"sum over lines":    "a = (1" + strings.Repeat("\n+1", 300_000) + ")",
	"conditions":        "a = true" + strings.Repeat("?1:true", 300_000),
	"index chain":       "a = x" + strings.Repeat("[y]", 300_000),
	"splat chain":       "a = x" + strings.Repeat(".*.a", 300_000),
	"dots":              "a = x" + strings.Repeat(".y", 300_000),
	"calls":             "a = " + strings.Repeat("f(", 200_000),
	"wrong closers":     "a = " + strings.Repeat("(}", 200_000),
	"wrong closers 2":   "a = " + strings.Repeat("[)", 200_000),
	"heredocs":          "a = " + strings.Repeat("<<E\n${", 100_000),
	"mixed below each":  "a = " + strings.Repeat("("+strings.Repeat("1+", 900), 150),
	"too large":         strings.Repeat("# comment\n", MaxFileBytes/10+1),
	"too many tokens":   strings.Repeat("a=1\n", MaxFileBytes/4-1),
	"signs":             strings.Repeat("[", MaxFileBytes-1),
}

func TestCase33HostileTextIsRefusedBeforeTheParser(t *testing.T) {
	for name, text := range hostileTexts {
		t.Run(name, func(t *testing.T) {
			w, diags := Parse("hostile.hcl", []byte(text), Inputs{})
			if w != nil || !diags.HasErrors() {
				t.Fatal("accepted")
			}
			if out := diags.Format([]byte(text), false); len(out) > 10_000 {
				t.Errorf("the message has %d bytes", len(out))
			}
		})
	}
}

func TestCase33FormatIsGuardedToo(t *testing.T) {
	t.Parallel()
	if _, err := Format("hostile.hcl", []byte(hostileTexts["balanced"])); err == nil {
		t.Error("Format accepts it")
	}
}

// hostileValues are expressions that are short to write and endless to
// evaluate.
var hostileValues = map[string]string{
	"for in for":      `[for a in range(1000): [for b in range(1000): [for c in range(1000): [for d in range(1000): 1]]]]`,
	"for over map":    `{for a in range(1000): a => {for b in range(1000): b => {for c in range(1000): c => 1}}}`,
	"for text":        `[for a in range(1000): [for b in range(1000): join(",", [for c in range(1000): "xxxxxxxxxxxxxxxx"])]]`,
	"if in for":       `[for a in range(1000): a if [for b in range(1000): b if [for c in range(1000): c] == []] == []]`,
	"splat":           `[for a in range(1000): [for b in range(1000): range(1000).*]]`,
	"range":           `range(1000000000)`,
	"width":           `format("%1000000000d", 1)`,
	"precision":       `format("%.1000000000f", 1)`,
	"huge number":     `tostring(1e999999999)`,
	"huge literal":    `1e999999999`,
	"huge text":       `"${1e999999999}"`,
	"huge conversion": `"${tonumber("1e999999999")}"`,
	"tiny number":     `"${1e-100000000}"`,
	"growing number":  strings.Repeat("99999999999999999999*", 400) + "9",
	"join":            `join(join("", [for a in range(1000): "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"]), range(1000))`,
	"replace":         `replace(replace(join("", range(1000)), "0", join("", range(1000))), "1", join("", range(1000)))`,
	"concat":          `concat(` + strings.Repeat("range(1000),", 5000) + `[])`,
}

func TestCase33EvaluationIsBounded(t *testing.T) {
	for name, value := range hostileValues {
		t.Run(name, func(t *testing.T) {
			cost := maxCost / 10 // quicker; what is bounded at all is bounded
			if name == "for in for" {
				cost = maxCost
			}
			wantBounded(t, "locals {\n  a = "+value+"\n}\n", cost)
		})
	}
}

func TestCase33LocalsThatDoubleAreBounded(t *testing.T) {
	for name, step := range map[string]string{
		"text":   `"${local.x%d}${local.x%d}"`,
		"list":   `[local.x%d, local.x%d]`,
		"concat": `concat(local.x%d, local.x%d)`,
		"json":   `jsonencode([local.x%d, local.x%d])`,
		"object": `{ a = local.x%d, b = local.x%d }`,
	} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			b.WriteString("locals {\n")
			if name == "text" || name == "json" {
				b.WriteString("  x0 = \"0123456789\"\n")
			} else {
				b.WriteString("  x0 = [1]\n")
			}
			for i := range 60 {
				fmt.Fprintf(&b, "  x%d = "+step+"\n", i+1, i, i)
			}
			b.WriteString("}\n")
			wantBounded(t, b.String(), maxCost)
		})
	}
}

func TestCase33CountIsBounded(t *testing.T) {
	wantBounded(t, `
image "i" { base = "host:/" }
jail "a" {
  count   = 100000
  image   = "i"
  network = "none"
  env     = { A = join("", [for a in range(1000): "${self.name}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"]) }
}
`, maxCost/10)
}

// wantBounded parses src and wants an error, soon, and without much memory.
func wantBounded(t *testing.T, src string, cost int) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	d := newDecoder("hostile.hcl", []byte(src), Inputs{})
	d.budget.left = cost
	w, diags := d.parse()
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	if w != nil || !diags.HasErrors() {
		t.Fatal("accepted")
	}
	t.Logf("%v, %d MB allocated in all: %s", took.Round(time.Millisecond), (after.TotalAlloc-before.TotalAlloc)>>20, clip(diags.Error()))
	if took > 2*time.Minute {
		t.Errorf("took %v", took)
	}
	if len(diags.Format([]byte(src), false)) > 20_000 {
		t.Error("the message is endless")
	}
}
