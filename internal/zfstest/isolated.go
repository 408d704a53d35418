package zfstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rexcarcer/rexcarcer/internal/run"
	"github.com/rexcarcer/rexcarcer/internal/testenv"
)

const (
	inside   = "REXCARCER_ZFSTEST_INSIDE" // set in the process that Isolated starts
	still    = "zfstest: zfs-fuse stands still"
	attempts = 6
	lifetime = time.Minute // of one attempt
)

// Isolated runs the test t, top-level or below one, in a process of its own with a zfs-fuse of its own, and
// reports true there; in the first process it runs in parallel with others, and reports false when that is over: t is to
// return at once.
//
//	if !zfstest.Isolated(t) {
//		return
//	}
//
// zfs-fuse 0.7 now and then never ends taking down a file system that was unmounted right after it was used (its listener
// spins, and everybody who touches one of its file systems waits for ever). That says nothing about what is tested: an
// attempt in which the daemon stands still is thrown away, with the daemon, and made again. Any other failure counts.
func Isolated(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inside) != "" {
		go watch()
		t.Cleanup(func() {
			if t.Failed() && standsStill(t) {
				fmt.Fprintln(os.Stdout, still) // the attempt's parent reads it
			}
		})
		return true
	}
	testenv.RequireRoot(t)
	testenv.RequireTool(t, "zpool")
	testenv.RequireTool(t, "zfs-fuse")
	testenv.Require(t, unix.Access("/dev/fuse", unix.R_OK) == nil, "needs /dev/fuse")
	t.Parallel()
	for n := 1; ; n++ {
		out, stuck, err := attempt(t)
		switch {
		case err == nil:
			t.Logf("%s", out)
			return false
		case stuck && n < attempts:
			t.Logf("attempt %d: zfs-fuse stood still: again", n)
		default:
			t.Fatalf("attempt %d: %v\n%s", n, err, out)
		}
	}
}

// attempt runs the test once. Ending the first process of its PID namespace ends all in it, the daemon too.
func attempt(t *testing.T) (out []byte, stuck bool, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), lifetime)
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		return nil, false, err
	}
	var b bytes.Buffer
	_, err = run.Real{}.Run(ctx, run.Cmd{
		Argv: []string{
			"unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c",
			`mkdir -p ` + socketDir + ` && mount -t tmpfs zfstest ` + socketDir + ` && "$@"`, "sh",
			self, "-test.run=^" + strings.ReplaceAll(t.Name(), "/", "$/^") + "$", "-test.v", "-test.timeout=5m",
		},
		Env: []string{inside + "=1"}, Timeout: run.NoTimeout, Stdout: &b, Stderr: &b,
	})
	return b.Bytes(), errors.Is(ctx.Err(), context.DeadlineExceeded) || bytes.Contains(b.Bytes(), []byte(still)), err
}

// answerTime is how long zfs-fuse may take to say how large a file system is. Taken too short it costs another attempt.
const answerTime = 8 * time.Second

// watch ends this process, and by that its namespace, as soon as the daemon does not answer. It ends with the process.
func watch() {
	for range time.Tick(time.Second) {
		at := fuseMount()
		if at == "" {
			continue
		}
		answered := make(chan struct{})
		go func() {
			var st unix.Statfs_t
			_ = unix.Statfs(at, &st) // unmounted meanwhile: an answer too
			close(answered)
		}()
		select {
		case <-answered:
		case <-time.After(answerTime):
			fmt.Fprintln(os.Stdout, still)
			os.Exit(1) //nolint:forbidigo // the test waits for the daemon, and can only be ended with it
		}
	}
}

// fuseMount is where one of the daemon's file systems is mounted, "" for nowhere.
func fuseMount() string {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 4 && strings.Contains(line, " fuse.zfs ") {
			return f[4]
		}
	}
	return ""
}

// standsStill reports whether the daemon no longer serves a new file system.
func standsStill(tb testing.TB) bool {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	name := fmt.Sprintf("%sprobe%d", prefix, time.Now().UnixNano())
	file, at := filepath.Join(memory, name), filepath.Join(os.TempDir(), name)
	script := `truncate -s 64M "$1" && zpool create -o cachefile=none -m "$2" "$3" "$1" && ls "$2" && zpool destroy -f "$3"`
	_, err := run.Real{}.Run(ctx, run.Cmd{Argv: []string{"sh", "-c", script, "sh", file, at, name}, Timeout: run.NoTimeout})
	return err != nil
}
