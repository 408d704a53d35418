//go:build linux

package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rexcarcer/rexcarcer/test/bench/live"
	"github.com/rexcarcer/rexcarcer/test/bench/report"
)

//go:embed up.sh
var upScript []byte

// script is the peer that is a shell script. It runs in a mount namespace of
// its own, from which a hybrid layout's unified hierarchy is gone: crun refuses
// to work where it sees one.
type script struct {
	dir, base, runtime string
	run                string // the runtime's state, where ours has it too
	n                  int
	jobs               chan func() // run on the thread that is in the namespace
	done               chan struct{}
}

const (
	scriptBridge  = "rcbench0"
	scriptGateway = "10.80.0.1"
)

func newScript(parent, base, ociRuntime string) (*script, error) {
	dir, err := os.MkdirTemp(parent, "bench-script-")
	if err != nil {
		return nil, err
	}
	state, err := live.RunDir(dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	s := &script{dir: dir, run: state, base: base, runtime: ociRuntime, jobs: make(chan func()), done: make(chan struct{})}
	ready := make(chan error, 1)
	go s.thread(ready)
	if err = <-ready; err == nil {
		if err = os.WriteFile(filepath.Join(dir, "up.sh"), upScript, 0o755); err == nil {
			err = s.prepare()
		}
		if err != nil {
			return nil, errors.Join(err, s.close())
		}
		return s, nil
	}
	return nil, errors.Join(err, os.RemoveAll(dir))
}

// thread is left locked, so that it ends with the namespace.
func (s *script) thread(ready chan<- error) {
	defer close(s.done)
	runtime.LockOSThread()
	err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS)
	if err == nil {
		err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	}
	if err == nil {
		if gone := unix.Unmount("/sys/fs/cgroup/unified", 0); gone != nil && !errors.Is(gone, unix.ENOENT) && !errors.Is(gone, unix.EINVAL) {
			err = gone
		}
	}
	ready <- err
	for job := range s.jobs {
		job()
	}
}

// start runs argv on the thread, and returns how to wait for its end.
func (s *script) start(argv ...string) (wait func() error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	var out bytes.Buffer
	cmd.Stderr = &out
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	begun := make(chan error, 1)
	s.jobs <- func() { begun <- cmd.Start() }
	return func() error {
		err := <-begun
		if err == nil {
			err = cmd.Wait()
		}
		if err != nil {
			return fmt.Errorf("%v: %w: %s", argv, err, out.Bytes())
		}
		return nil
	}
}

func (s *script) prepare() error {
	for _, argv := range [][]string{
		{"ip", "link", "add", scriptBridge, "type", "bridge"},
		{"ip", "address", "add", scriptGateway + "/16", "dev", scriptBridge},
		{"ip", "link", "set", scriptBridge, "up"},
		{"sh", "-c", "cd " + s.dir + " && rm -f config.json && exec " + s.runtime + " spec"},
	} {
		if err := s.start(argv...)(); err != nil {
			return err
		}
	}
	name := filepath.Join(s.dir, "config.json")
	raw, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	var c map[string]any
	if err := json.Unmarshal(raw, &c); err != nil {
		return err
	}
	process := c["process"].(map[string]any)
	process["terminal"], process["args"] = false, []string{"/bin/sleep", "1000000"}
	delete(process, "rlimits") // cannot be raised without CAP_SYS_RESOURCE
	c["root"] = map[string]any{"path": "rootfs", "readonly": false}
	for _, ns := range c["linux"].(map[string]any)["namespaces"].([]any) {
		if one := ns.(map[string]any); one["type"] == "network" {
			one["path"] = "@NETNS@"
		}
	}
	if raw, err = json.Marshal(c); err != nil {
		return err
	}
	return os.WriteFile(name, raw, 0o644)
}

// up starts the script for the next container.
func (s *script) up(more ...string) (id string, wait func() error) {
	s.n++
	id = fmt.Sprintf("rcb%d", s.n)
	argv := []string{"sh", filepath.Join(s.dir, "up.sh"), s.dir, s.base, scriptBridge, scriptGateway, id, fmt.Sprintf("10.80.%d.%d", 1+s.n/200, 2+s.n%200), s.runtime, s.run}
	return id, s.start(append(argv, more...)...)
}

func (s *script) oneByOne(ctx context.Context, n int) (float64, error) {
	var out []float64
	for range n {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		begun := time.Now()
		id, wait := s.up()
		if err := wait(); err != nil {
			return 0, err
		}
		out = append(out, float64(time.Since(begun))/1e6)
		if err := s.down(id); err != nil {
			return 0, err
		}
	}
	return report.Median(out), nil
}

func (s *script) down(id string) error {
	c := filepath.Join(s.dir, id)
	return s.start("sh", "-c", fmt.Sprintf("%s --root %s delete --force %s; ip link delete v%s; ip netns delete %s; umount %s/rootfs && rm -rf %s", s.runtime, s.run, id, id, id, c, c))()
}

func (s *script) bursts(ctx context.Context, times int) (float64, error) {
	begun := time.Now()
	for range times {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		var waits []func() error
		for range sixteen {
			_, wait := s.up("down")
			waits = append(waits, wait)
		}
		var err error
		for _, wait := range waits {
			err = errors.Join(err, wait())
		}
		if err != nil {
			return 0, err
		}
	}
	return float64(times*sixteen) / time.Since(begun).Seconds(), nil
}

func (s *script) close() error {
	err := s.start("ip", "link", "delete", scriptBridge)()
	close(s.jobs)
	<-s.done
	return errors.Join(err, os.RemoveAll(s.run), os.RemoveAll(s.dir))
}
