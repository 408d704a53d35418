package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rexcarcer/rexcarcer/api"
)

// host is a network namespace, a data directory and a daemon.
type host struct {
	name, dir string
	ns        string // path of the namespace
	addr      netip.Prefix
	program   string   // the daemon's binary
	mount     string   // of its disk
	data      string   // data directory, on its disk
	extra     []string // more flags
	env       []string // more environment
	client    *api.Client

	mu     sync.Mutex
	cmd    *exec.Cmd     // guarded by mu; nil: it does not run
	exited chan struct{} // guarded by mu; closed when cmd was waited for
}

// newHost makes the namespace; the daemon is not started.
func (l *lab) newHost(ctx context.Context, name string) (*host, error) {
	l.hosts++
	h := &host{name: name, dir: filepath.Join(l.dir, name), program: l.rexcarcer, addr: netip.PrefixFrom(l.subnet.Addr(), l.subnet.Bits())}
	for range l.hosts {
		h.addr = netip.PrefixFrom(h.addr.Addr().Next(), h.addr.Bits())
	}
	if err := os.MkdirAll(h.dir, 0o711); err != nil {
		return nil, err
	}
	ns, err := namespace()
	if err != nil {
		return nil, err
	}
	h.ns = fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), int(ns))
	l.undo(ns.Close)
	if err := l.wire.plug(name, ns, h.addr); err != nil {
		return nil, err
	}
	if err := h.disk(ctx, l); err != nil {
		return nil, err
	}
	l.undo(h.kill)
	h.client, err = api.NewClient(api.Options{Addr: "unix://" + filepath.Join(h.dir, "run", "rexcarcer.sock")})
	return h, err
}

func (h *host) flags() []string {
	ip := h.addr.Addr().String()
	return append([]string{"-runtime=sim", "-data-dir", h.data, "-run-dir", filepath.Join(h.dir, "run"), "-log-dir", filepath.Join(h.dir, "log"),
		"-name", h.name, "-cluster-bind", ip, "-api-port", "0", "-metrics-port", "0", "-dns-port", "0", "-resolver", "127.0.0.1:9"}, h.extra...)
}

// command runs one of the daemon's own commands, such as join, in the host's network.
func (h *host) command(ctx context.Context, args ...string) error {
	return command(ctx, append([]string{"nsenter", "--net=" + h.ns, h.program}, append(args, h.flags()...)...)...)
}

// start runs the daemon. nsenter becomes the daemon without a fork, so the process is the daemon.
func (h *host) start() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cmd != nil {
		return fmt.Errorf("start %s: it runs", h.name)
	}
	log, err := os.OpenFile(filepath.Join(h.dir, "log.txt"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command("nsenter", append([]string{"--net=" + h.ns, h.program}, h.flags()...)...)
	cmd.Env = append(os.Environ(), h.env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := forked(cmd.Start); err != nil {
		return fmt.Errorf("start %s: %w", h.name, err)
	}
	exited := make(chan struct{})
	h.cmd, h.exited = cmd, exited
	go func() {
		_ = cmd.Wait() // how it ended is in cmd.ProcessState
		close(exited)
	}()
	return nil
}

// forks are done by one thread that never ends: Pdeathsig comes when the
// THREAD ends that has forked (prctl(2)), and others are thrown away by apart.
var forks = sync.OnceValue(func() chan func() {
	c := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range c {
			f()
		}
	}()
	return c
})

func forked(start func() error) error {
	done := make(chan error)
	forks() <- func() { done <- start() }
	return <-done
}

// kill ends the daemon as a power cut does.
func (h *host) kill() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cmd == nil {
		return nil
	}
	if err := h.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", h.name, err)
	}
	select {
	case <-h.exited:
	case <-time.After(30 * time.Second):
		return fmt.Errorf("kill %s: it is still there after 30 s", h.name)
	}
	h.cmd = nil
	return nil
}

// running tells whether the daemon has not ended by itself.
func (h *host) running() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.exited:
		return false
	default:
		return h.cmd != nil
	}
}

// ended waits until the daemon has ended by itself, and tells its exit code.
func (h *host) ended(ctx context.Context, within time.Duration) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.exited:
		code := h.cmd.ProcessState.ExitCode()
		h.cmd = nil
		return code, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(within):
		return 0, fmt.Errorf("%s still runs after %s", h.name, within)
	}
}

// tail is the end of the daemon's log.
func (h *host) tail(lines int) string {
	b, _ := os.ReadFile(filepath.Join(h.dir, "log.txt")) // it may not have been started
	all := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// command runs a program to its end.
func command(ctx context.Context, argv ...string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, bytes.TrimSpace(out))
	}
	return nil
}
