package rexcarcer_test

import (
	"os"
	"strings"
	"testing"
)

// raftSet builds together; nothing newer does. raft v1.8.0 and memberlist
// v0.7.0 want go-metrics v0.7, which has lost the package compat that
// raft-boltdb/v2 v2.3.1, the newest there is, imports.
var raftSet = map[string]string{
	"github.com/hashicorp/raft":           "v1.7.3",
	"github.com/hashicorp/raft-boltdb/v2": "v2.3.1",
	"github.com/hashicorp/memberlist":     "v0.6.0",
	"github.com/hashicorp/go-metrics":     "v0.6.",
	"go.etcd.io/bbolt":                    "v1.5.0",
}

// requirements reads go.mod: module -> version.
func requirements(t *testing.T) (modules map[string]string, lines []string) {
	t.Helper()
	text, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	modules = map[string]string{}
	lines = strings.Split(string(text), "\n")
	for _, line := range lines {
		f := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(f) >= 2 && strings.HasPrefix(f[1], "v") {
			modules[f[0]] = f[1]
		}
	}
	return modules, lines
}

func TestRaftAndItsFriendsStayAtVersionsThatBuildTogether(t *testing.T) {
	t.Parallel()
	have, _ := requirements(t)
	for module, want := range raftSet {
		got, ok := have[module]
		if !ok && module == "github.com/hashicorp/memberlist" {
			continue // comes with the second host
		}
		if got != want && (!strings.HasSuffix(want, ".") || !strings.HasPrefix(got, want)) {
			t.Errorf("go.mod has %s %s, want %s.\n"+
				"raft v1.8.0 and memberlist v0.7.0 pull go-metrics up to v0.7, which has no package compat any more; raft-boltdb/v2 imports it and then does not build.\n"+
				"Go back with: go get github.com/hashicorp/raft@v1.7.3 github.com/hashicorp/raft-boltdb/v2@v2.3.1 github.com/hashicorp/memberlist@v0.6.0 github.com/hashicorp/go-metrics@v0.6.0 go.etcd.io/bbolt@v1.5.0\n"+
				"Move on when a raft-boltdb that builds with the new go-metrics can be fetched; then change raftSet.", module, got, want)
		}
	}
}

func TestModulesThatStandOnAbandonedOnesStayOut(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for module, instead := range map[string]string{
		"github.com/hashicorp/raft-boltdb ": "raft-boltdb/v2, on bbolt: the old path stands on the archived boltdb",
		"github.com/pkg/errors ":            "fmt.Errorf with %w",
		"github.com/mattn/go-sqlite3 ":      "modernc.org/sqlite: we build without cgo",
	} {
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(strings.TrimSpace(line), module) {
				t.Errorf("go.mod requires %s: take %s", strings.TrimSpace(module), instead)
			}
		}
	}
}

func TestGoModReplacesNothing(t *testing.T) {
	t.Parallel()
	_, lines := requirements(t)
	for i, line := range lines {
		for _, word := range []string{"replace", "exclude"} {
			if strings.HasPrefix(strings.TrimSpace(line), word+" ") {
				t.Errorf("go.mod:%d: %s: with a %s directive `go install MODULE/cmd/rexctl@VERSION` refuses to work", i+1, strings.TrimSpace(line), word)
			}
		}
	}
}
