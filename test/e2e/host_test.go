//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/testenv"
)

// host is one daemon with directories and ports of its own.
type host struct {
	dir, data, run string
	program        string // empty: the one that all tests have
	flags          []string
	api, metrics   int

	cmd    *exec.Cmd
	exited chan struct{} // closed when cmd has ended and was waited for
}

// newHost prepares a daemon but does not start it. At the end of the test it
// is stopped, and nothing of it may be left on the machine.
func newHost(t *testing.T, flags ...string) *host {
	t.Helper()
	real(t)
	h, err := makeHost(strings.ReplaceAll(t.Name(), "/", "-"), flags...)
	if err != nil {
		t.Fatal(err)
	}
	before := forwarding(t)
	t.Cleanup(func() {
		if err := h.end(); err != nil {
			t.Error(err)
		}
		if left := leftovers(h.data, h.run); len(left) > 0 {
			t.Errorf("left on this machine:\n  %s", strings.Join(left, "\n  "))
		}
		checkForwarding(t, before)
		if t.Failed() {
			t.Logf("end of the daemon's log:\n%s", tail(h.logName(), 60))
		}
	})
	return h
}

func makeHost(name string, flags ...string) (*host, error) {
	dir, err := os.MkdirTemp(scratch, "h-")
	if err != nil {
		return nil, err
	}
	h := &host{dir: dir, data: filepath.Join(dir, "data"), run: filepath.Join(dir, "run")}
	if h.api, err = testenv.FreePort(); err != nil {
		return nil, err
	}
	if h.metrics, err = testenv.FreePort(); err != nil {
		return nil, err
	}
	h.flags = append([]string{"-data-dir", h.data, "-run-dir", h.run, "-log-dir", filepath.Join(dir, "log"), "-name", "e2e",
		"-api-port", strconv.Itoa(h.api), "-metrics-port", strconv.Itoa(h.metrics), "-dns-port", "0"}, flags...)
	if err := os.WriteFile(filepath.Join(dir, "test"), []byte(name+"\n"), 0o644); err != nil {
		return nil, err
	}
	return h, os.Chmod(dir, 0o711)
}

func (h *host) logName() string { return filepath.Join(h.dir, "daemon.log") }

// spawn starts the daemon and does not wait for it.
func (h *host) spawn() error {
	log, err := os.OpenFile(h.logName(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	program := h.program
	if program == "" {
		program = rexcarcer
	}
	cmd := exec.Command(program, h.flags...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	h.cmd, h.exited = cmd, make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		_ = cmd.Wait() // how it ended is in cmd.ProcessState
		close(exited)
	}(h.cmd, h.exited)
	return nil
}

// launch starts the daemon and waits until it answers.
func (h *host) launch() error {
	if err := h.spawn(); err != nil {
		return err
	}
	return pollErr(60*time.Second, func() error {
		select {
		case <-h.exited:
			return fatal{fmt.Errorf("the daemon ended: %v\n%s", h.cmd.ProcessState, tail(h.logName(), 20))}
		default:
		}
		if r := h.ctl("status"); r.code != 0 {
			return fmt.Errorf("no answer: %s", r.stderr)
		}
		return nil
	})
}

func (h *host) start(t *testing.T) {
	t.Helper()
	if err := h.launch(); err != nil {
		t.Fatalf("start rexcarcer: %v", err)
	}
}

// kill ends the daemon as a power cut would, from its own point of view.
func (h *host) kill(t *testing.T) {
	t.Helper()
	if err := h.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	<-h.exited
}

// signal ends the daemon politely.
func (h *host) signal(sig syscall.Signal) error {
	if h.cmd == nil {
		return nil
	}
	select {
	case <-h.exited:
		return nil
	default:
	}
	if err := h.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-h.exited:
		return nil
	case <-time.After(90 * time.Second):
		return errors.Join(fmt.Errorf("the daemon still runs 90 s after %s", sig), h.cmd.Process.Kill())
	}
}

// end stops the daemon and all of its jails: one that left its jails running
// is started once more as -dev, whose end removes everything.
func (h *host) end() error {
	if h.cmd == nil {
		return nil
	}
	if err := h.signal(syscall.SIGTERM); err != nil {
		return err
	}
	if !strings.Contains(strings.Join(h.flags, " "), "-dev") {
		h.flags = append(h.flags, "-dev")
		if err := h.launch(); err != nil {
			return fmt.Errorf("start again to clean up: %w", err)
		}
		return h.signal(syscall.SIGTERM)
	}
	return nil
}

// shared is the daemon of those tests that do not end it.
var shared struct {
	once sync.Once
	h    *host
	err  error
}

// sharedHost starts the daemon that tests have in common, with -dev.
func sharedHost(t *testing.T) *host {
	t.Helper()
	real(t)
	shared.once.Do(func() {
		if shared.h, shared.err = makeHost("shared", "-dev"); shared.err == nil {
			shared.err = shared.h.launch()
		}
	})
	if shared.err != nil {
		t.Fatalf("start the shared daemon: %v", shared.err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("end of the shared daemon's log:\n%s", tail(shared.h.logName(), 40))
		}
	})
	return shared.h
}

func stopShared() error {
	h := shared.h
	if h == nil {
		return nil
	}
	if err := h.end(); err != nil {
		return err
	}
	if left := leftovers(h.data, h.run); len(left) > 0 {
		return fmt.Errorf("the shared daemon left on this machine:\n  %s", strings.Join(left, "\n  "))
	}
	return nil
}

// tail is the end of a text file, for messages.
func tail(name string, lines int) string {
	b, err := os.ReadFile(name)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
