package spec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// genCluster draws a valid cluster file, badly formatted.
func genCluster(t *rapid.T) string {
	var b strings.Builder
	pad := func() string { return rapid.SampledFrom([]string{" ", "  ", "\t", "   "}).Draw(t, "pad") }
	networks := rapid.IntRange(1, 4).Draw(t, "networks")
	for i := range networks {
		fmt.Fprintf(&b, "network \"net%d\" {\n%ssubnet%s=%s\"10.%d.0.0/16\"\n%snat=true\n}\n", i, pad(), pad(), pad(), i, pad())
	}
	b.WriteString("image \"i\" {\nbase=\"debian:bookworm\"\n}\n")
	groups := rapid.IntRange(1, 6).Draw(t, "groups")
	for g := range groups {
		fmt.Fprintf(&b, "jail \"g%d\" {\n%simage%s= \"i\"\n", g, pad(), pad())
		fmt.Fprintf(&b, "network = \"net%d\"\n", rapid.IntRange(0, networks-1).Draw(t, "net"))
		if rapid.Bool().Draw(t, "counted") {
			fmt.Fprintf(&b, "%scount%s=%s%d\n", pad(), pad(), pad(), rapid.IntRange(0, 12).Draw(t, "count"))
			b.WriteString("hostname = \"h${self.index}." + fmt.Sprintf("g%d", g) + ".example.org\"\n")
		}
		if g > 0 && rapid.Bool().Draw(t, "depends") {
			fmt.Fprintf(&b, "depends_on=[\"g%d\"]\n", rapid.IntRange(0, g-1).Draw(t, "on"))
		}
		env := rapid.MapOf(rapid.StringMatching(`[A-Z][A-Z0-9_]{0,5}`), rapid.StringMatching(`[ -!#$&-~]{0,12}`)).Draw(t, "env")
		b.WriteString("env = {\n")
		for _, k := range keysOf(env) {
			v, _ := json.Marshal(strings.NewReplacer("${", "x", "%{", "x", "<", "_", ">", "_", "&", "_").Replace(env[k]))
			fmt.Fprintf(&b, "%s%s%s= %s\n", pad(), k, pad(), v)
		}
		b.WriteString("}\n")
		if rapid.Bool().Draw(t, "service") {
			fmt.Fprintf(&b, "service \"s%d\" {\nport%s=%d\ncheck {}\n}\n", g, pad(), rapid.IntRange(1, 65535).Draw(t, "port"))
		}
		if rapid.Bool().Draw(t, "limits") {
			fmt.Fprintf(&b, "limits {\nmemory= \"%dM\" # some\n}\n", rapid.IntRange(4, 4096).Draw(t, "memory"))
		}
		b.WriteString("}\n")
		b.WriteString(strings.Repeat("\n", rapid.IntRange(0, 3).Draw(t, "lines")))
	}
	return b.String()
}

func mustParse(t *rapid.T, src string) *Wish {
	w, diags := Parse("p.hcl", []byte(src), Inputs{})
	if w == nil {
		t.Fatalf("%s\n%s", src, diags.Format(nil, false))
	}
	return w
}

func TestExpandedNamesAreUniqueAndInOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := mustParse(t, genCluster(t))
		seen := make(map[string]bool)
		for i, j := range w.Jails {
			if seen[j.Name] {
				t.Fatalf("%s is there twice", j.Name)
			}
			seen[j.Name] = true
			if i > 0 {
				if p := w.Jails[i-1]; p.Group > j.Group || p.Group == j.Group && p.Index >= j.Index {
					t.Fatalf("%s comes before %s", p.Name, j.Name)
				}
			}
		}
		if err := w.Validate(); err != nil {
			t.Fatalf("Validate disagrees with Parse: %v", err)
		}
	})
}

func TestWishSurvivesJSON(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := mustParse(t, genCluster(t))
		text, err := json.Marshal(w)
		if err != nil {
			t.Fatal(err)
		}
		var back Wish
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		if !jsonEqual(t, w, &back) {
			t.Fatal("the wish changed on its way")
		}
		back.Normalize()
		if !jsonEqual(t, w, &back) {
			t.Fatal("Normalize changes what Parse made")
		}
	})
}

// jsonEqual compares bytes: an empty and a nil slice are the same wish.
func jsonEqual(t *rapid.T, a, b *Wish) bool {
	x, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Equal(x, y)
}

func TestFormatIsIdempotentAndKeepsTheMeaning(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		src := genCluster(t)
		once, err := Format("p.hcl", []byte(src))
		if err != nil {
			t.Fatal(err)
		}
		twice, err := Format("p.hcl", once)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(once, twice) {
			t.Fatalf("once:\n%s\ntwice:\n%s", once, twice)
		}
		if !jsonEqual(t, mustParse(t, src), mustParse(t, string(once))) {
			t.Fatalf("the meaning changed:\n%s\n%s", src, once)
		}
	})
}

func TestParseIsAFunctionOfItsInput(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		src := genCluster(t)
		if !jsonEqual(t, mustParse(t, src), mustParse(t, src)) {
			t.Fatal("the same file gave two wishes")
		}
	})
}

// genRex draws a .rex file out of lines that are valid by themselves.
func genRex(t *rapid.T) string {
	lines := []string{
		"run echo a", "PROVISION  RUN\ta && \\\n b \\\n   # c\n d", "Copy a /b", "copyall", "env A=1  B='x y'",
		"# a comment", "", "   ", "\t# another", "volume /v", "RUN x \\\n\\\ny", "run a \\\n\nRUN b", "PROVISION \\\nRUN x",
		"RUN echo a\\\\", "RUN \\\n  x \\", "\\\nRUN z",
	}
	body := rapid.SliceOfN(rapid.SampledFrom(lines), 0, 12).Draw(t, "lines")
	seen := false
	body = slices.DeleteFunc(body, func(l string) bool { // once only
		again := seen && l == "volume /v"
		seen = seen || l == "volume /v"
		return again
	})
	end := rapid.SampledFrom([]string{"", "\n", "\r\n", " \\", "\n\n\n"}).Draw(t, "end")
	return "from  debian:bookworm \n" + strings.Join(body, "\n") + end
}

func TestFormatOfRexIsIdempotentAndKeepsTheKeys(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		src := genRex(t)
		checkRexFormat(t, []byte(src))
	})
}

// checkRexFormat wants of any .rex file: formatted twice is formatted once,
// and the image stays the same.
func checkRexFormat(t interface {
	Helper()
	Fatalf(string, ...any)
}, src []byte) {
	t.Helper()
	in := testInputs(nil)
	before, _ := ParseRex("p.rex", src, in)
	once, err := Format("p.rex", src)
	if err != nil {
		if before != nil {
			t.Fatalf("Format refuses what ParseRex accepts: %v\n%q", err, src)
		}
		return
	}
	twice, err := Format("p.rex", once)
	if err != nil {
		t.Fatalf("Format makes %q of %q: %v", once, src, err)
	}
	if !bytes.Equal(once, twice) {
		t.Fatalf("%q once: %q twice: %q", src, once, twice)
	}
	after, _ := ParseRex("p.rex", once, in)
	if (before == nil) != (after == nil) {
		t.Fatalf("%q is an image: %v, and formatted %q: %v", src, before != nil, once, after != nil)
	}
	if before != nil && before.Key != after.Key {
		t.Fatalf("the image changed: %q %q", src, once)
	}
}

func TestSizesReadAndWriteTheSame(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(0, 1<<50).Draw(t, "n")
		if got, err := ParseSize(FormatSize(n)); err != nil || (n < 1<<53 && got != n) {
			t.Fatalf("%d is written %s and read %d (%v)", n, FormatSize(n), got, err)
		}
	})
}

func TestNamesThatPassNeedNoQuotes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s")
		for _, valid := range []func(string) error{ValidName, ValidHostname, ValidDomain} {
			if valid(s) == nil && (strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-.") != "" || s == "" || s[0] == '-' || strings.Contains(s, "..")) {
				t.Fatalf("%q passes", s)
			}
		}
		if ValidBase(s) == nil && strings.ContainsAny(s, " '\"`$;()|<>\n\\*") {
			t.Fatalf("%q passes as a base", s)
		}
		if ValidPath(s) == nil && (s[0] != '/' || strings.Contains(s, "/../") || strings.ContainsAny(s, "\x00\n\r\x1b")) {
			t.Fatalf("%q passes as a path", s)
		}
	})
}
