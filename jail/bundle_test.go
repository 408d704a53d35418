package jail

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestConfig shows the OCI config of a Spec (JSON), or why there is none.
func TestConfig(t *testing.T) {
	t.Parallel()
	datadriven.RunTest(t, "testdata/config", func(t *testing.T, d *datadriven.TestData) string {
		var s Spec
		if err := json.Unmarshal([]byte(d.Input), &s); err != nil {
			d.Fatalf(t, "spec: %v", err)
		}
		if err := s.check(); err != nil {
			return "error: " + err.Error() + "\n"
		}
		caps, err := s.caps()
		if err != nil {
			return "error: " + err.Error() + "\n"
		}
		b := bundle{
			caps: caps, seccomp: json.RawMessage(`"the profile"`), cgroupsPath: "/rexcarcer/main/" + s.ID, swap: true,
			openFiles: 20000, oomScore: -900, user: account{home: "/root", name: "root"},
		}
		raw, err := b.config(s)
		if err != nil {
			d.Fatalf(t, "config: %v", err)
		}
		var out bytes.Buffer
		must(t, json.Indent(&out, raw, "", " "))
		return out.String() + "\n"
	})
}

func TestAccountsAreLookedUpInTheJail(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	must(t, os.Mkdir(filepath.Join(root, "etc"), 0o755))
	must(t, os.WriteFile(filepath.Join(root, "etc/passwd"), []byte("# users\nroot:x:0:0::/root:/bin/sh\nbroken:x:y\npg:x:104:110::/var/lib/pg:/bin/sh\n7:x:107:107::/seven:/bin/sh\n"), 0o600))
	must(t, os.WriteFile(filepath.Join(root, "etc/group"), []byte("root:x:0:\nssl:x:111:pg,www\npg:x:110:pg\nlog:x:105:pg\n"), 0o600))
	for user, want := range map[string]account{
		"":           {home: "/root", name: "root"},
		"pg":         {uid: 104, gid: 110, groups: []uint32{105, 111}, home: "/var/lib/pg", name: "pg"},
		"104":        {uid: 104, gid: 110, groups: []uint32{105, 111}, home: "/var/lib/pg", name: "pg"},
		"7":          {uid: 107, gid: 107, home: "/seven", name: "7"}, // a name before a number
		"pg:ssl":     {uid: 104, gid: 111, home: "/var/lib/pg", name: "pg"},
		"4242:17":    {uid: 4242, gid: 17, home: "/"},
		"pg:4711":    {uid: 104, gid: 4711, home: "/var/lib/pg", name: "pg"},
		"4294967295": {uid: 4294967295, home: "/"},
	} {
		got, err := lookupAccount(root, user)
		if err != nil || got.uid != want.uid || got.gid != want.gid || got.home != want.home || got.name != want.name || len(got.groups) != len(want.groups) {
			t.Errorf("%q: got %+v, %v; want %+v", user, got, err, want)
		}
	}
	for _, user := range []string{"www", "-1", "4294967296", "pg:none", "$(id)"} {
		if got, err := lookupAccount(root, user); !errors.Is(err, ErrFinal) {
			t.Errorf("%q: got %+v, %v", user, got, err)
		}
	}
}

func TestAccountFilesCannotLeadOutOfTheRoot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	must(t, os.MkdirAll(filepath.Join(root, "etc"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "passwd"), []byte("evil:x:0:0::/:/bin/sh\n"), 0o600))
	for _, target := range []string{"../../passwd", filepath.Join(dir, "passwd"), "../../../../../../../" + filepath.Join(dir, "passwd")} {
		link := filepath.Join(root, "etc/passwd")
		_ = os.Remove(link)
		must(t, os.Symlink(target, link))
		if a, err := lookupAccount(root, "evil"); err == nil {
			t.Errorf("%s: found %+v outside", target, a)
		}
	}
}

func TestLastMessageOfARuntimeIsFound(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":             "",
		"plain text\n": "plain text",
		`{"level":"warning","msg":"w"}` + "\n" + `{"level":"error","msg":"runc run failed: no such file","time":"x"}` + "\n": "no such file",
		`{"level":"error","msg":"real"}` + "\n" + `{"level":"debug","msg":"late"}`:                                           "real",
	} {
		if got := lastMessage([]byte(in)); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	if got := parseVersion([]byte("runc version 1.1.5+ds1\ncommit: x")); got != "runc 1.1.5" {
		t.Errorf("got %q", got)
	}
}
