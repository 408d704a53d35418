//go:build linux

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/api"
)

// result is how a command ended.
type result struct {
	code           int
	stdout, stderr string
}

func (r result) String() string {
	return fmt.Sprintf("exit code %d\nstdout: %s\nstderr: %s", r.code, r.stdout, r.stderr)
}

// command runs argv to its end, a minute at most unless ctx says less.
func command(ctx context.Context, stdin string, env []string, argv ...string) result {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	r := result{cmd.ProcessState.ExitCode(), out.String(), errOut.String()}
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		r.stderr += err.Error()
	}
	return r
}

func (h *host) env() []string {
	return []string{"REX_ADDR=unix://" + filepath.Join(h.run, "rexcarcer.sock"), "NO_COLOR=1"}
}

// ctl runs rexctl against this host.
func (h *host) ctl(args ...string) result {
	return command(context.Background(), "", h.env(), append([]string{rexctl}, args...)...)
}

// must is ctl for what has to work; it returns stdout.
func (h *host) must(t *testing.T, args ...string) string {
	t.Helper()
	r := h.ctl(args...)
	if r.code != 0 {
		t.Fatalf("rexctl %s: %s", strings.Join(args, " "), r)
	}
	return r.stdout
}

// write puts a file into the host's own directory and returns its path.
func (h *host) write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(h.dir, strings.ReplaceAll(t.Name(), "/", "-")+"-"+name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// try writes text as a cluster file and applies it. Tests that share a daemon
// may get between plan and commit of each other: exit 4, and it plans again.
func (h *host) try(t *testing.T, text string, flags ...string) (r result) {
	t.Helper()
	path := h.write(t, "cluster.hcl", text)
	for range 10 {
		r = h.ctl(append([]string{"apply", path, "--yes", "--timeout", "90s"}, flags...)...)
		if r.code != 4 {
			break
		}
	}
	return r
}

// apply is try for what has to work; it returns stdout.
func (h *host) apply(t *testing.T, text string, flags ...string) string {
	t.Helper()
	r := h.try(t, text, flags...)
	if r.code != 0 {
		t.Fatalf("apply: %s\n%s", r, text)
	}
	return r.stdout
}

// destroy removes what a test has applied.
func (h *host) destroy(t *testing.T, wish string) {
	t.Helper()
	var r result
	for range 10 {
		if r = h.ctl("destroy", wish, "--yes", "--timeout", "60s"); r.code != 4 {
			break
		}
	}
	if r.code != 0 {
		t.Fatalf("destroy %s: %s", wish, r)
	}
}

// rows is ps.
func (h *host) rows() (map[string]api.JailRow, error) {
	r := h.ctl("ps", "-o", "json")
	if r.code != 0 {
		return nil, errors.New(r.stderr)
	}
	var list []api.JailRow
	if err := json.Unmarshal([]byte(r.stdout), &list); err != nil {
		return nil, err
	}
	out := map[string]api.JailRow{}
	for _, row := range list {
		out[row.Name] = row
	}
	return out, nil
}

func (h *host) ps(t *testing.T) map[string]api.JailRow {
	t.Helper()
	rows, err := h.rows()
	if err != nil {
		t.Fatalf("rexctl ps: %v", err)
	}
	return rows
}

// decode reads a JSON document that rexctl printed.
func decode[T any](t *testing.T, h *host, args ...string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(h.must(t, append(args, "-o", "json")...)), &v); err != nil {
		t.Fatalf("rexctl %s: %v", strings.Join(args, " "), err)
	}
	return v
}

// pid is a jail's first process, as this machine sees it; 0 if there is none.
func (h *host) pid(uuid string) int { return h.pidOf("rex-" + uuid) }

// pidOf is pid for what the driver knows by this id.
func (h *host) pidOf(id string) int {
	b, err := os.ReadFile(filepath.Join(h.run, instance(h.data), "jails", id, "pid"))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || syscall.Kill(pid, 0) != nil {
		return 0
	}
	return pid
}

// pids of the jails of a network by name.
func (h *host) pids(t *testing.T, network string) map[string]int {
	t.Helper()
	out := map[string]int{}
	for name, row := range h.ps(t) {
		if row.Network != network {
			continue
		}
		if out[name] = h.pid(row.UUID); out[name] == 0 {
			t.Errorf("jail %s has no process", name)
		}
	}
	return out
}
