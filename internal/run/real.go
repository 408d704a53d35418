package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// pipeWait bounds how long output pipes stay open after the process has ended: a daemon that the command left behind
// may hold them for ever.
const pipeWait = 2 * time.Second

// Real runs commands on this machine. The zero value is ready, and safe for concurrent use.
type Real struct{}

// Run starts c and waits for its end. Errors are of type *Error.
func (Real) Run(ctx context.Context, c Cmd) (Result, error) {
	limit := c.Timeout
	if limit == 0 {
		limit = DefaultTimeout
	}
	cctx, cancel := ctx, context.CancelFunc(func() {})
	if limit > 0 {
		cctx, cancel = context.WithTimeout(ctx, limit)
	}
	defer cancel()
	if err := cctx.Err(); err != nil {
		return Result{RC: -1}, &Error{Argv: c.Argv, RC: -1, Err: err}
	}
	if len(c.Argv) == 0 {
		return Result{RC: -1}, &Error{RC: -1, Err: errors.New("empty command")}
	}

	var out head
	var errOut tail
	x := exec.CommandContext(cctx, c.Argv[0], c.Argv[1:]...)
	prepare(x, c)
	if c.Stdout == nil {
		x.Stdout = &out
	}
	switch w := c.Stderr.(type) {
	case nil:
		x.Stderr = &errOut
	case *os.File:
	default:
		x.Stderr = io.MultiWriter(w, &errOut)
		if same(c.Stdout, c.Stderr) { // os/exec would see two writers now, and write to both at once
			x.Stdout = x.Stderr
		}
	}
	x.WaitDelay = pipeWait + c.Grace
	var stopKill func() bool
	x.Cancel = func() error {
		if c.Grace <= 0 {
			return killGroup(x.Process.Pid, syscall.SIGKILL)
		}
		pid := x.Process.Pid
		stopKill = time.AfterFunc(c.Grace, func() { _ = killGroup(pid, syscall.SIGKILL) }).Stop
		return killGroup(pid, syscall.SIGTERM)
	}

	begun := time.Now()
	err := begin(c, x)
	if err == nil {
		err = x.Wait()
		if cctx.Err() != nil { // Cancel may have run: take stragglers of the group along
			if stopKill != nil {
				stopKill()
			}
			_ = killGroup(x.Process.Pid, syscall.SIGKILL)
		}
	}
	res := Result{RC: exitCode(x.ProcessState), Duration: time.Since(begun), Stderr: errOut.Bytes()}
	if c.Stdout == nil {
		res.Stdout = out.Bytes()
	}
	if errors.Is(err, exec.ErrWaitDelay) && res.RC == 0 && cctx.Err() == nil {
		err = nil // it ended well; only somebody it left behind still held a pipe
	}
	if err == nil {
		return res, nil
	}
	e := &Error{Argv: c.Argv, RC: res.RC, Stderr: strings.TrimSpace(string(res.Stderr)), Err: err}
	if x.ProcessState != nil {
		if cerr := cctx.Err(); cerr != nil {
			e.Err = cerr
			if errors.Is(cerr, context.DeadlineExceeded) {
				e.Timeout = max(res.Duration.Round(time.Millisecond), time.Millisecond)
			}
		} else if errors.Is(err, errTooMuch) {
			e.RC = -1
		}
	}
	return res, e
}

// LookPath returns the absolute path of a program in PATH; the error names it.
func LookPath(name string) (string, error) { return exec.LookPath(name) }

// Start starts c and does not wait. Timeout and Grace do not apply, and only *os.File streams are allowed, because
// nobody would be left to copy: nil is /dev/null. The caller must Wait, or end before the process does.
func (Real) Start(c Cmd) (*Process, error) {
	if len(c.Argv) == 0 {
		return nil, &Error{RC: -1, Err: errors.New("empty command")}
	}
	for _, s := range []any{c.Stdin, c.Stdout, c.Stderr} {
		if _, ok := s.(*os.File); !ok && s != nil {
			return nil, &Error{Argv: c.Argv, RC: -1, Err: fmt.Errorf("start needs files as streams, not %T", s)}
		}
	}
	x := exec.Command(c.Argv[0], c.Argv[1:]...) //nolint:noctx // outlives every context by purpose
	prepare(x, c)
	if err := begin(c, x); err != nil {
		return nil, &Error{Argv: c.Argv, RC: -1, Err: err}
	}
	return &Process{PID: x.Process.Pid, argv: c.Argv, cmd: x}, nil
}

// Process is one that Start began.
type Process struct {
	PID  int
	argv []string
	cmd  *exec.Cmd
}

// Wait returns when the process has ended; an exit code other than 0 is an *Error. Call it once.
func (p *Process) Wait() (Result, error) {
	err := p.cmd.Wait()
	res := Result{RC: exitCode(p.cmd.ProcessState)}
	if err != nil {
		return res, &Error{Argv: p.argv, RC: res.RC, Err: err}
	}
	return res, nil
}

// Signal sends sig to the process group (the whole session's first group).
func (p *Process) Signal(sig syscall.Signal) error { return killGroup(p.PID, sig) }

// same says whether both are one writer; writers that cannot be compared are not.
func same(a, b io.Writer) bool {
	defer func() { _ = recover() }()
	return a == b
}

func prepare(x *exec.Cmd, c Cmd) {
	if c.CleanEnv {
		x.Env = []string{"PATH=" + os.Getenv("PATH")}
	} else {
		x.Env = os.Environ()
	}
	x.Env = append(append(x.Env, "LC_ALL=C"), c.Env...)
	if c.OnlyEnv {
		x.Env = append([]string{}, c.Env...) // not nil, which would be ours
	}
	x.Dir = c.Dir
	x.Stdin, x.Stdout, x.Stderr = c.Stdin, c.Stdout, c.Stderr
	x.ExtraFiles = c.Files
	session := c.NewSession || c.TTY
	x.SysProcAttr = &syscall.SysProcAttr{Setsid: session, Setpgid: !session, Setctty: c.TTY}
}

// begin starts x where c says.
func begin(c Cmd, x *exec.Cmd) error {
	if c.Inside != nil {
		if err := inside(c.Inside, x.SysProcAttr); err != nil {
			return err
		}
	}
	return startIn(c, x)
}

// killGroup signals the group that pid leads. "No such process" is success: it is gone already.
func killGroup(pid int, sig syscall.Signal) error {
	if err := syscall.Kill(-pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signal process group %d: %w", pid, err)
	}
	return nil
}

func exitCode(s *os.ProcessState) int {
	if s == nil {
		return -1
	}
	if ws, ok := s.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return s.ExitCode()
}
