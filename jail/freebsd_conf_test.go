package jail

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rexcarcer/rexcarcer/internal/freebsdtest"
)

// roundTrip writes params and reads them by another reader of the same grammar.
func roundTrip(t interface{ Fatalf(string, ...any) }, params []param) {
	text, err := confText("rex-1", "web-1", params)
	if err != nil {
		t.Fatalf("write %q: %v", params, err)
	}
	got, err := freebsdtest.ReadConf(text)
	if err != nil || len(got) != 1 || got[0].Name != "web-1" || len(got[0].Params) != len(params) {
		t.Fatalf("read back %v of %q, %v", got, text, err)
	}
	for i, p := range params {
		if g := got[0].Params[i]; g.Name != p.name || !slices.Equal(g.Values, p.values) {
			t.Fatalf("wrote %q, read %q", p, g)
		}
	}
	if ownerOf(text) != "rex-1" {
		t.Fatalf("owner of %q is %q", text, ownerOf(text))
	}
}

func TestConfWriterIsReadBackByAnIndependentReader(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.StringMatching(`[\x01-\x7f]{0,20}|[^\x00]{0,10}`)
		n := rapid.IntRange(0, 6).Draw(t, "n")
		var params []param
		for range n {
			params = append(params, param{rapid.StringMatching(`[a-z]+(\.[a-z_]+)?`).Draw(t, "name"), rapid.SliceOfN(value, 0, 3).Draw(t, "values")})
		}
		for i := range params {
			if len(params[i].values) == 0 {
				params[i].values = nil
			}
		}
		roundTrip(t, params)
	})
}

// hostile is what people and attackers put into values.
var hostile = []string{
	"'", `\`, `\'`, `\\`, "\n", "\r\n", ";", "}", "{", "$HOME", "${x}", "`id`", "\"", "#", "//", "/*", "*/", "*", "= 'x'", "; exec.start = 'rm -rf /'; }",
	"'; allow.mount; '", "\x01", "\x7f", "\x1b[2J", "é", "\xff\xfe", "+=", ",", ".include \"/etc/passwd\";", `\n`, `\x41`, `\101`, "\t", "1", "$", "%", "a b",
}

func TestTenThousandHostileStringsSurviveTheConfWriter(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same strings each time
	for range 10000 {
		var b strings.Builder
		for range 1 + r.IntN(6) {
			if r.IntN(3) == 0 {
				b.WriteByte(byte(1 + r.IntN(255)))
			} else {
				b.WriteString(hostile[r.IntN(len(hostile))])
			}
		}
		roundTrip(t, []param{{"host.hostname", []string{b.String()}}, {"mount", []string{b.String(), "x"}}})
	}
}

func TestConfRefusesNUL(t *testing.T) {
	t.Parallel()
	if _, err := confText("rex-1", "x", []param{{"path", []string{"a\x00b"}}}); err == nil || !strings.Contains(err.Error(), "path") {
		t.Errorf("got %v", err)
	}
}

func TestFstabFieldsHaveNoWhiteSpace(t *testing.T) {
	t.Parallel()
	for _, h := range hostile {
		if f := fstabField("/a" + h); strings.ContainsAny(f, " \t\r\n#") {
			t.Errorf("%q is written as %q", h, f)
		}
	}
	if got := fstabField(`/a b\c`); got != `/a\040b\134c` {
		t.Errorf("got %s", got)
	}
}
