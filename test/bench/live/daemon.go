package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/spec"
)

// Daemon is a running rexcarcer -dev.
type Daemon struct {
	Client *api.Client
	Base   string // directory of the busybox root
	dir    string
	run    string
	cmd    *exec.Cmd
	output bytes.Buffer
}

// Start runs binary in a new directory below parent, which must be on a file
// system that can be an overlay's upper layer, until Stop.
func Start(ctx context.Context, binary, parent string, flags ...string) (*Daemon, error) {
	dir, err := os.MkdirTemp(parent, "bench-live-")
	if err != nil {
		return nil, err
	}
	d := &Daemon{dir: dir, Base: filepath.Join(dir, "base")}
	if err := errors.Join(os.Chmod(dir, 0o711), MakeBase(d.Base)); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if d.run, err = RunDir(dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	socket := filepath.Join(d.run, "rexcarcer.sock")
	d.cmd = exec.Command(binary, append([]string{"-dev", "-data-dir", filepath.Join(dir, "data"), "-run-dir", d.run,
		"-api-port", "0", "-metrics-port", "0", "-dns-port", "0", "-log-level", "warn"}, flags...)...)
	d.cmd.Stdout, d.cmd.Stderr = &d.output, &d.output
	d.cmd.SysProcAttr = ownSession()
	if err := d.cmd.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if d.Client, err = api.NewClient(api.Options{Addr: "unix://" + socket}); err != nil {
		return nil, errors.Join(err, d.Stop())
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if hosts, err := d.Client.Hosts(ctx); err == nil && len(hosts) == 1 {
			return d, d.build(ctx)
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return nil, errors.Join(errors.New("rexcarcer does not answer within 30 s"), d.Stop())
		}
	}
}

// Stop ends the daemon, which takes down all that it made, and removes its directory.
func (d *Daemon) Stop() error {
	err := d.cmd.Process.Signal(syscall.SIGTERM)
	if werr := d.cmd.Wait(); err == nil && werr != nil {
		err = fmt.Errorf("rexcarcer: %w", werr)
	}
	if err != nil {
		return fmt.Errorf("%w\n%s\n%s and %s are left as they are", err, d.output.Bytes(), d.dir, d.run)
	}
	return errors.Join(os.RemoveAll(d.run), os.RemoveAll(d.dir))
}

// RunDir makes a directory for state that a reboot may lose: in memory, as
// /run is on most hosts, though not in every container; else below dir.
func RunDir(dir string) (string, error) {
	const memory = "/dev/shm"
	parent := memory
	if info, err := os.Stat(memory); err != nil || !info.IsDir() {
		parent = dir
	}
	run, err := os.MkdirTemp(parent, "bench-run-")
	if err != nil {
		return "", err
	}
	return run, os.Chmod(run, 0o711)
}

// PID of the daemon.
func (d *Daemon) PID() int { return d.cmd.Process.Pid }

// network is where all jails of Wish are: made once, as a peer makes its bridge once.
var network = spec.KnownNetwork{Name: "bench", Subnet: netip.MustParsePrefix("10.79.0.0/16"), Wish: "ground"}

// build makes the image and the network that all jails of Wish have.
func (d *Daemon) build(ctx context.Context) error {
	w, err := d.parse(network.Wish, fmt.Sprintf("image \"busybox\" { rexfile = \"busybox.rex\" }\nnetwork %q { subnet = %q }\n", network.Name, network.Subnet), spec.Inputs{})
	if err == nil {
		_, err = d.Client.Build(ctx, api.BuildRequest{Image: w.Images[0]}, true, nil)
	}
	if err == nil {
		_, err = d.Client.ApplyWish(ctx, w, 0)
	}
	if err != nil {
		return errors.Join(err, d.Stop())
	}
	return nil
}

// Wish declares n jails that sleep, with throw-away roots or not. They have a
// millisecond to stop: a sleeping first process takes no notice of TERM.
func (d *Daemon) Wish(name string, n int, ephemeral bool) (*spec.Wish, error) {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "jail \"j%d\" {\n  image = \"busybox\"\n  network = %q\n  command = [\"/bin/sleep\", \"1000000\"]\n  stop_timeout = \"1ms\"\n}\n", i, network.Name)
	}
	w, err := d.parse(name, text.String(), spec.Inputs{Images: []string{"busybox"}, Networks: []spec.KnownNetwork{network}})
	if err != nil {
		return nil, err
	}
	for i := range w.Jails {
		w.Jails[i].Ephemeral = ephemeral
	}
	return w, nil
}

func (d *Daemon) parse(name, text string, in spec.Inputs) (*spec.Wish, error) {
	in.Files = func(string) ([]byte, error) { return []byte("BASE " + d.Base + "\n"), nil }
	w, diags := spec.Parse(name+".hcl", []byte(fmt.Sprintf("cluster %q {}\n", name)+text), in)
	if w == nil {
		return nil, fmt.Errorf("the bench's own file: %v", diags)
	}
	return w, nil
}

// MakeBase makes a root of busybox alone.
func MakeBase(dir string) error {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return fmt.Errorf("%w (Debian: apt-get install busybox-static)", err)
	}
	for _, d := range []string{"bin", "etc", "proc", "sys", "dev", "tmp", "run"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	program, err := os.ReadFile(busybox)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "bin", "busybox"), program, 0o755); err != nil {
		return err
	}
	for _, name := range strings.Fields("sh sleep true cat ls ip hostname") {
		if err := os.Symlink("busybox", filepath.Join(dir, "bin", name)); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "etc", "passwd"), []byte("root:x:0:0:root:/:/bin/sh\n"), 0o644)
}

// OfBench chooses the jails that Wish declares under the name bench.
var OfBench = api.JailFilter{Wish: "bench"}
