package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// What all tests share; set by TestMain.
var (
	rexcarcer, rexctl string // absolute paths of the programs
	scratch           string // parent of all that the tests write
)

func TestMain(m *testing.M) {
	code, err := prepareAndRun(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		code = 1
	}
	os.Exit(code)
}

func prepareAndRun(m *testing.M) (code int, err error) {
	if scratch, err = os.MkdirTemp("", "rc-cluster-"); err != nil {
		return 1, err
	}
	defer func() {
		if code == 0 && err == nil {
			err = os.RemoveAll(scratch)
		} else {
			fmt.Fprintln(os.Stderr, "cluster: logs are kept in", scratch)
		}
	}()
	if err := findPrograms(); err != nil {
		return 1, err
	}
	return m.Run(), nil
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
