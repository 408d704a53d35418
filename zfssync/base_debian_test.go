//go:build linux

package zfssync

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/run"
	"github.com/rexcarcer/rexcarcer/internal/testenv"
)

// Downloads a distribution, so only when asked for: REXCARCER_TEST_DEBOOTSTRAP=1 go test -run Debootstrap -v ./zfssync
func TestDebootstrapMakesABaseThatCanBeCloned(t *testing.T) {
	if os.Getenv("REXCARCER_TEST_DEBOOTSTRAP") == "" {
		t.Skip("set REXCARCER_TEST_DEBOOTSTRAP=1 to download a Debian; make demo does it too")
	}
	testenv.RequireTool(t, "debootstrap")
	o := openStore(t, func(c *Config) { c.Runner = run.Real{} })
	begin, lines := time.Now(), 0
	if err := o.Base(t.Context(), "debian:bookworm", testKey(1), func(string) { lines++ }); err != nil {
		t.Fatal(err)
	}
	took := time.Since(begin)
	if err := o.PutImage(t.Context(), Image{Key: testKey(1), Top: testKey(1)}); err != nil {
		t.Fatal(err)
	}
	img, err := o.Image(testKey(1))
	if err != nil {
		t.Fatal(err)
	}
	root, err := o.Clone(t.Context(), testKey(1), testUUID(1), CloneOptions{})
	if err != nil {
		t.Fatal(err)
	}
	sources, err := os.ReadFile(root + "/etc/apt/sources.list")
	if err != nil || !strings.Contains(string(sources), " bookworm main\n") {
		t.Errorf("sources.list: %q, %v", sources, err)
	}
	t.Logf("took %v, %d MB, %d lines of progress\n%s", took.Round(time.Second), img.Bytes>>20, lines, sources)
	noMountsBelow(t, o.staging())
}
