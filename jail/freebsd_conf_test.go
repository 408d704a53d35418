package jail

import (
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

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

func TestConfOfAJail(t *testing.T) {
	t.Parallel()
	s := Spec{
		ID: "rex-6f2a1c00-aaaa-4bbb-8ccc-0123456789ab", Name: "web-1", UUID: "6f2a1c00-aaaa-4bbb-8ccc-0123456789ab", Root: "/rex/jails/6f2a/root",
		Argv: []string{"/bin/sh", "/etc/rc"}, LogPath: "/var/log/rexcarcer/6f2a.log", Devices: routerDevices, AddCaps: []string{"NET_RAW"},
		Mounts: []Mount{{Source: "/rex/volumes/d", Target: "/var/db/data"}, {Source: "/srv/it's here", Target: "/srv", ReadOnly: true}},
	}
	text, err := confText(s.ID, "web-1", confOf(s, netPlan{Interfaces: []string{"rj6f2a1c000", "rj6f2a1c001"}}, rulesetRouter, 1500*time.Millisecond,
		func(string) bool { return true }))
	must(t, err)
	want, err := os.ReadFile("testdata/web-1.conf")
	if os.Getenv("REXTEST_REWRITE") != "" {
		must(t, os.WriteFile("testdata/web-1.conf", []byte(text), 0o644)) //nolint:gosec // a golden file
		return
	}
	must(t, err)
	if text != string(want) {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
	old, err := confText(s.ID, "web-1", confOf(s, netPlan{}, rulesetJail, 0, func(string) bool { return false }))
	must(t, err)
	if strings.Contains(old, "meta") || strings.Contains(old, "sysv") || strings.Contains(old, "vnet.interface") || !strings.Contains(old, "stop.timeout = '1'") {
		t.Errorf("for an old kernel: %s", old)
	}
}
