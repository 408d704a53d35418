//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// start runs this very program in a role.
func start(ctx context.Context, role string, o order) (*exec.Cmd, *json.Decoder, error) {
	x := exec.CommandContext(ctx, "/proc/self/exe", "-role", role)
	text, err := json.Marshal(o)
	if err != nil {
		return nil, nil, err
	}
	x.Stdin, x.Stderr = bytes.NewReader(text), os.Stderr
	x.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := x.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	return x, json.NewDecoder(out), x.Start()
}

// server is a child that serves.
type server struct {
	x    *exec.Cmd
	addr string
}

func newServer(ctx context.Context, o order) (*server, error) {
	x, out, err := start(ctx, "serve", o)
	if err != nil {
		return nil, err
	}
	var r result
	if err := out.Decode(&r); err != nil {
		return nil, errors.Join(fmt.Errorf("start the side that serves: %w", err), x.Wait())
	}
	return &server{x, r.Addr}, nil
}

// stop ends it and returns the most memory that it ever had, in MiB.
func (s *server) stop() (mib float64, err error) {
	if err := s.x.Process.Signal(os.Interrupt); err != nil {
		return 0, err
	}
	err = s.x.Wait()
	return rss(s.x), err
}

// rss of a process that has ended, in MiB. ru_maxrss is in KiB (getrusage(2)).
func rss(x *exec.Cmd) float64 {
	if u, ok := x.ProcessState.SysUsage().(*syscall.Rusage); ok {
		return float64(u.Maxrss) / 1024
	}
	return 0
}

// receiveOnce runs a child that receives.
func receiveOnce(ctx context.Context, o order) (result, float64, error) {
	x, out, err := start(ctx, "receive", o)
	if err != nil {
		return result{}, 0, err
	}
	var r result
	err = errors.Join(out.Decode(&r), x.Wait())
	if r.Err != "" {
		err = errors.Join(errors.New(r.Err), err)
	}
	return r, rss(x), err
}

// timed runs a peer and returns how long it took.
func (c config) timed(ctx context.Context, argv ...string) (time.Duration, error) {
	begun, end := time.Now(), c.note(argv[0])
	x := exec.CommandContext(ctx, argv[0], argv[1:]...)
	x.Env = append(os.Environ(), "LC_ALL=C")
	if out, err := x.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("%s: %w: %.500s", strings.Join(argv, " "), err, out)
	}
	took := time.Since(begun)
	end(took)
	return took, nil
}

// pipe runs two peers with a pipe between them.
func (c config) pipe(ctx context.Context, from, to []string) (time.Duration, error) {
	begun, end := time.Now(), c.note(from[0], "|", to[0])
	a, b := exec.CommandContext(ctx, from[0], from[1:]...), exec.CommandContext(ctx, to[0], to[1:]...)
	var errs bytes.Buffer
	r, w, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	a.Stdout, b.Stdin, b.Stderr = w, r, &errs
	err = errors.Join(a.Start(), b.Start(), w.Close(), r.Close())
	if err != nil {
		return 0, err
	}
	if err := errors.Join(a.Wait(), b.Wait()); err != nil {
		return 0, fmt.Errorf("%s | %s: %w: %s", strings.Join(from, " "), strings.Join(to, " "), err, errs.String())
	}
	took := time.Since(begun)
	end(took)
	return took, nil
}
