//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rexcarcer/rexcarcer/internal/testenv"
)

// What all tests share; set by TestMain.
var (
	rexcarcer, rexctl string // absolute paths of the programs
	base              string // directory with a busybox root, absolute
	scratch           string // parent of all that the tests write
)

func TestMain(m *testing.M) {
	code, err := prepareAndRun(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func prepareAndRun(m *testing.M) (code int, err error) {
	// Not below a private temporary directory: the users of jails must be able to pass.
	if scratch, err = os.MkdirTemp("/var/tmp", "rc-e2e-"); err != nil {
		return 1, err
	}
	defer func() {
		if code == 0 && err == nil {
			err = os.RemoveAll(scratch)
		} else {
			fmt.Fprintln(os.Stderr, "e2e: logs are kept in", scratch)
		}
	}()
	if err := os.Chmod(scratch, 0o711); err != nil {
		return 1, err
	}
	// Daemons are clusters of one here, unless a test says otherwise: two of
	// them could not have the same port.
	if err := os.Setenv("REXCARCER_CLUSTER_PORT", "0"); err != nil {
		return 1, err
	}
	if err := findPrograms(); err != nil {
		return 1, err
	}
	base = filepath.Join(scratch, "base")
	if err := makeBase(base); err != nil {
		return 1, err
	}
	code = m.Run()
	if err := stopShared(); err != nil {
		return 1, err
	}
	return code, nil
}

// findPrograms takes what the Makefile built, or builds it.
func findPrograms() error {
	dir, err := filepath.Abs("../../bin")
	if err != nil {
		return err
	}
	if given := os.Getenv("E2E_BIN"); given != "" {
		dir = given
	}
	rexcarcer, rexctl = filepath.Join(dir, "rexcarcer"), filepath.Join(dir, "rexctl")
	if executable(rexcarcer) && executable(rexctl) {
		return nil
	}
	dir = filepath.Join(scratch, "bin")
	for _, name := range []string{"rexcarcer", "rexctl"} {
		build := exec.Command("go", "build", "-buildvcs=false", "-tags=hashicorpmetrics", "-o", filepath.Join(dir, name), "../../cmd/"+name)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	rexcarcer, rexctl = filepath.Join(dir, "rexcarcer"), filepath.Join(dir, "rexctl")
	return nil
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&0o111 != 0
}

// makeBase makes a root of busybox alone, with a link for each of its programs.
func makeBase(dir string) error {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return nil // the tests that need it say so
	}
	for _, d := range []string{"bin", "etc", "tmp", "dev", "proc", "sys", "var/log", "root"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	program, err := os.ReadFile(busybox)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "bin/busybox"), program, 0o755); err != nil {
		return err
	}
	applets, err := exec.Command(busybox, "--list").Output()
	if err != nil {
		return err
	}
	for name := range strings.FieldsSeq(string(applets)) {
		if err := os.Symlink("busybox", filepath.Join(dir, "bin", name)); err != nil && name != "busybox" {
			return err
		}
	}
	files := map[string]string{"etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n", "etc/group": "root:x:0:\nnogroup:x:65534:\n"}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// real skips a test that cannot run for real here.
func real(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("not with -short: it runs real jails")
	}
	testenv.RequireRoot(t)
	for _, tool := range []string{"runc", "nft", "busybox"} {
		testenv.RequireTool(t, tool)
	}
}
