package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/internal/testenv"
)

// daemon is one host: a process with directories and ports of its own.
type daemon struct {
	name, dir    string
	id           string // set by know
	port, gossip int
	flags        []string

	cmd    *exec.Cmd
	exited chan struct{} // closed when cmd has ended and was waited for
}

// prepare makes a host that does not run yet. It is killed at the end of the test.
func prepare(t *testing.T, name string) *daemon {
	t.Helper()
	dir, err := os.MkdirTemp(scratch, name+"-") //nolint:usetesting // what a failed test leaves is kept
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{name: name, dir: dir, port: freePort(t), gossip: freePort(t)}
	d.flags = []string{"-runtime=sim", "-data-dir", filepath.Join(dir, "data"), "-run-dir", filepath.Join(dir, "run"), "-log-dir", filepath.Join(dir, "log"),
		"-name", name, "-cluster-bind", "127.0.0.1", "-cluster-port", strconv.Itoa(d.port), "-gossip-port", strconv.Itoa(d.gossip),
		"-api-port", "0", "-metrics-port", "0", "-dns-port", "0"}
	t.Cleanup(func() {
		d.kill()
		if t.Failed() {
			t.Logf("end of the log of %s:\n%s", name, d.tail(25))
		}
	})
	return d
}

// freePort is free for TCP and for UDP.
func freePort(t *testing.T) int {
	t.Helper()
	port, err := testenv.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// listenOn gives the daemon another cluster port for its next start.
func (d *daemon) listenOn(port int) {
	d.flags[slices.Index(d.flags, "-cluster-port")+1] = strconv.Itoa(port)
	d.port = port
}

// move gives the daemon another address for its next start.
func (d *daemon) move(t *testing.T) {
	t.Helper()
	d.listenOn(freePort(t))
}

func (d *daemon) addr() string { return fmt.Sprintf("127.0.0.1:%d", d.port) }

func (d *daemon) log() string {
	b, _ := os.ReadFile(filepath.Join(d.dir, "log.txt")) // it may not have been started
	return string(b)
}

func (d *daemon) tail(lines int) string {
	all := strings.Split(strings.TrimSpace(d.log()), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// start runs the daemon and waits until its API answers.
func (d *daemon) start(t *testing.T) {
	t.Helper()
	d.spawn(t)
	poll(t, patience, d.name+" answers", func() error {
		select {
		case <-d.exited:
			return fmt.Errorf("it ended: %v\n%s", d.cmd.ProcessState, d.tail(10))
		default:
		}
		if r := d.ctl("status"); r.code != 0 {
			return errors.New(r.String())
		}
		return nil
	})
}

// spawn runs the daemon.
func (d *daemon) spawn(t *testing.T) {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(d.dir, "log.txt"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(rexcarcer, d.flags...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	d.cmd, d.exited = cmd, exited
	go func() {
		_ = cmd.Wait() // how it ended is in cmd.ProcessState
		close(exited)
	}()
}

// kill ends the process as a power cut does.
func (d *daemon) kill() {
	if d.cmd == nil {
		return
	}
	_ = d.cmd.Process.Signal(syscall.SIGKILL) // it may have ended
	<-d.exited
	d.cmd = nil
}

// join lets the daemon's host become a member by token; the second result is
// what it said.
func (d *daemon) join(at *daemon, token string, more ...string) result {
	args := append([]string{"join", at.addr(), "-token", token}, append(more, d.flags...)...)
	return command(nil, append([]string{rexcarcer}, args...)...)
}

// result is how a command ended.
type result struct {
	code           int
	stdout, stderr string
}

func (r result) String() string {
	return fmt.Sprintf("exit code %d\nstdout: %s\nstderr: %s", r.code, r.stdout, r.stderr)
}

func command(env []string, argv ...string) result {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	r := result{-1, out.String(), errOut.String()}
	if cmd.ProcessState != nil {
		r.code = cmd.ProcessState.ExitCode()
	}
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		r.stderr += err.Error()
	}
	return r
}

// ctl runs rexctl against this host.
func (d *daemon) ctl(args ...string) result {
	return command([]string{"REX_ADDR=unix://" + filepath.Join(d.dir, "run", "rexcarcer.sock"), "NO_COLOR=1"}, append([]string{rexctl}, args...)...)
}

// must is ctl for what has to work; it returns stdout.
func (d *daemon) must(t *testing.T, args ...string) string {
	t.Helper()
	r := d.ctl(args...)
	if r.code != 0 {
		t.Fatalf("%s: rexctl %s: %s", d.name, strings.Join(args, " "), r)
	}
	return r.stdout
}

// ask decodes the JSON answer of rexctl.
func ask[T any](d *daemon, args ...string) (out T, err error) {
	r := d.ctl(append(args, "-o", "json")...)
	if r.code != 0 {
		return out, errors.New(r.String())
	}
	return out, json.Unmarshal([]byte(r.stdout), &out)
}

func (d *daemon) hosts() (map[string]api.HostRow, error) {
	rows, err := ask[[]api.HostRow](d, "host", "ls")
	out := map[string]api.HostRow{}
	for _, r := range rows {
		out[r.Name] = r
	}
	return out, err
}

// pollErr asks ok until it has no complaint, or returns its last one.
func pollErr(within time.Duration, ok func() error) error {
	deadline := time.Now().Add(within)
	for {
		err := ok()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not within %s: %w", within, err)
		}
		pause(50 * time.Millisecond)
	}
}

// pause is the only sleep in this package.
func pause(d time.Duration) { time.Sleep(d) }

func poll(t *testing.T, within time.Duration, what string, ok func() error) {
	t.Helper()
	if err := pollErr(within, ok); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// wish writes a file that declares jails web-1 to web-N.
func wish(t *testing.T, n int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cluster.hcl")
	text := fmt.Sprintf("cluster \"demo\" {}\nnetwork \"n\" {\n  subnet = \"10.66.0.0/24\"\n}\nimage \"base\" {\n  base = \"host:/\"\n}\njail \"web\" {\n  count   = %d\n  image   = \"base\"\n  network = \"n\"\n  command = [\"serve\"]\n}\n", n)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
