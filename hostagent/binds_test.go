package hostagent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

func TestADirectoryOfTheHostIsBoundOnlyWhereTheHostAllowsIt(t *testing.T) {
	t.Parallel()
	top, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"shared/docs", "shared2", "secret"} {
		if err := os.MkdirAll(filepath.Join(top, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"shared/way-out": "../secret", "way-in": "shared"} {
		if err := os.Symlink(to, filepath.Join(top, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		allow, source, want string // want: "" is refused
	}{
		{"", "shared", ""},
		{"shared", "shared", "shared"},
		{"shared", "shared/docs", "shared/docs"},
		{"shared", "shared/docs/../docs", "shared/docs"},
		{"shared", "shared2", ""},
		{"shared", "secret", ""},
		{"shared", "shared/way-out", ""},
		{"shared", "shared/../secret", ""},
		{"shared", "way-in/docs", "shared/docs"},
		{"way-in", "shared/docs", "shared/docs"},
		{"shared", "shared/missing", ""},
		{"missing", "shared", ""},
	} {
		var allowed []string
		if c.allow != "" {
			allowed = []string{top + "/" + c.allow}
		}
		got, err := bindAllowed(allowed, top+"/"+c.source)
		switch {
		case c.want == "" && err == nil:
			t.Errorf("-bind-allow %q: %s is bound as %s, want a refusal", c.allow, c.source, got)
		case c.want != "" && (err != nil || got != filepath.Join(top, c.want)):
			t.Errorf("-bind-allow %q: %s is bound as %q, %v, want %s", c.allow, c.source, got, err, c.want)
		}
	}
	if got, err := bindAllowed([]string{"/"}, top); err != nil || got != top {
		t.Errorf("-bind-allow /: %q, %v", got, err)
	}
}

func TestAWishThatTheOnlyHostForbidsIsRefusedBeforeItIsApplied(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := &spec.Wish{Jails: []spec.Jail{{Name: "web", Volumes: []spec.Volume{{Name: "own", Path: "/own"}, {Name: "src", Path: "/src", Source: dir}}}}}
	a := &Agent{}
	err := a.checkBinds(&fsm.State{}, w)
	if err == nil || !strings.Contains(err.Error(), "-bind-allow "+dir) {
		t.Errorf("without -bind-allow: %v, want a refusal that says how to allow it", err)
	}
	a.c.BindAllow = []string{dir}
	if err := a.checkBinds(&fsm.State{}, w); err != nil {
		t.Errorf("with -bind-allow: %v", err)
	}
}
