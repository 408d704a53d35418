//go:build linux

package e2e

import (
	"context"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestSelftestProvesThisHostAndLeavesNothing(t *testing.T) {
	real(t)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, rexcarcer, "selftest").CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatalf("selftest: %v", err)
	}
	for _, check := range []string{
		"daemon", "image", "jails", "addresses", "names", "reach", "published", "nat", "certificate", "limits", "stop", "clean up",
	} {
		want := "(?m)^ok +" + check + " "
		if check == "nat" { // a machine without any network cannot have it
			want = "(?m)^(ok|skip) +nat "
		}
		if !regexp.MustCompile(want).Match(out) {
			t.Errorf("no check %q went well", check)
		}
	}
	if !strings.Contains(string(out), "all is well") {
		t.Error("the report has no end")
	}
}
