package freebsdtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// Proc is a process in a jail.
type Proc struct {
	PID, JID int
	Argv     []string
	Env      []string
	Start    time.Time

	h        *Host
	root     string // of the jail
	real     bool
	stubborn bool
	done     chan struct{} // closed when it has ended
	rc       int           // valid then; 128+signal
}

type procs struct {
	list   []*Proc // that live, and were started as first processes
	next   int
	chroot bool // for real, on Linux as root
}

func (p *procs) init() { p.next = 100 }

// RunForReal lets jexec start real processes, in a chroot of the jail's path: Linux, as root. Otherwise a process is only
// noted: "sleep" and all unknown ones run until they are signalled, "stubborn" ignores SIGTERM, "exit N" has ended with N.
func (h *Host) RunForReal() { h.procs.chroot = true }

// Wait returns the exit code, 128+signal.
func (p *Proc) Wait() int {
	<-p.done
	return p.rc
}

// Start starts jexec and does not wait for the command.
func (h *Host) Start(c run.Cmd) (*Proc, error) {
	h.mu.Lock()
	h.calls = append(h.calls, "start "+line(c))
	crashes := h.crash.step()
	if h.crash.crashed && !(crashes && h.crash.after) {
		h.mu.Unlock()
		return nil, ErrCrash
	}
	if h.fails(c) {
		h.mu.Unlock()
		_, err := finish(c, Fail(1, "freebsdtest: it was made to fail"), nil)
		return nil, err
	}
	p, r := h.spawn(context.Background(), c)
	h.mu.Unlock()
	if p == nil {
		_, err := finish(c, r, nil)
		return nil, err
	}
	if crashes {
		return nil, ErrCrash
	}
	return p, nil
}

// jexec runs the command to its end.
func (h *Host) jexec(ctx context.Context, c run.Cmd) (Reply, error) {
	h.mu.Lock()
	p, r := h.spawn(ctx, c)
	h.mu.Unlock()
	if p == nil {
		return r, nil
	}
	select {
	case <-p.done:
		return Reply{RC: p.rc}, nil
	case <-ctx.Done():
		h.mu.Lock()
		p.end(128 + int(syscall.SIGKILL))
		h.mu.Unlock()
		<-p.done
		return Reply{RC: -1}, ctx.Err()
	}
}

// jexecArgs are those of jexec(8) of 15.1.
type jexecArgs struct {
	clean bool
	dir   string
	jail  string
	argv  []string
	as    []string // options of chroot(8), instead
}

func parseJexec(args []string) (x jexecArgs, err error) {
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		switch {
		case args[0] == "-l":
			x.clean = true
			args = args[1:]
		case len(args) > 1 && args[0] == "-d":
			x.dir, args = args[1], args[2:]
		default:
			return x, fmt.Errorf("illegal option -- %s", strings.TrimLeft(args[0], "-"))
		}
	}
	if len(args) == 0 {
		return x, errors.New("usage: jexec [-l] [-d working-directory] [-u username | -U username] jail")
	}
	x.jail, x.argv = args[0], args[1:]
	if len(x.argv) == 0 {
		x.argv = []string{"/bin/sh"}
	}
	return x, nil
}

// entering reads how a command gets into its jail: by jexec(8), or by jail_attach(2) of the process itself.
func entering(c run.Cmd) (jexecArgs, error) {
	if c.Inside == nil {
		return parseJexec(c.Argv[1:])
	}
	x := jexecArgs{jail: strconv.Itoa(c.Inside.JID), argv: c.Argv, dir: c.Dir}
	groups := []string{strconv.Itoa(int(c.Inside.GID))}
	for _, g := range c.Inside.Groups {
		groups = append(groups, strconv.Itoa(int(g)))
	}
	x.as = []string{fmt.Sprintf("--userspec=%d:%d", c.Inside.UID, c.Inside.GID), "--groups=" + strings.Join(groups, ",")}
	return x, nil
}

// spawn begins a command in a jail; h is locked.
func (h *Host) spawn(ctx context.Context, c run.Cmd) (*Proc, Reply) {
	x, err := entering(c)
	if err != nil {
		return nil, Fail(1, "jexec: %v", err)
	}
	j := h.jail(x.jail)
	if j == nil && c.Inside != nil {
		return nil, Fail(-1, "fork/exec %s: invalid argument", c.Argv[0])
	}
	if j == nil {
		return nil, Fail(1, "jexec: jail %q not found", x.jail)
	}
	h.procs.next++
	p := &Proc{PID: h.procs.next, JID: j.JID, Argv: x.argv, Env: c.Env, h: h, root: j.Path, done: make(chan struct{}), Start: time.Now()}
	if h.procs.chroot {
		return h.spawnReal(ctx, c, x, p)
	}
	h.procs.list = append(h.procs.list, p)
	switch filepath.Base(x.argv[0]) {
	case "exit":
		code, _ := strconv.Atoi(strings.Join(x.argv[1:], ""))
		p.end(code)
	case "stubborn":
		p.stubborn = true
	case "sh", "rc":
		if x.argv[len(x.argv)-1] == "/etc/rc" { // ends, and what it started stays
			p.end(0)
		}
	}
	return p, Reply{}
}

// end of a process that is only noted; h is locked.
func (p *Proc) end(rc int) {
	if p.real || !slices.Contains(p.h.procs.list, p) {
		return
	}
	p.rc = rc
	p.h.procs.list = slices.DeleteFunc(p.h.procs.list, func(o *Proc) bool { return o == p })
	close(p.done)
}

// spawnReal uses chroot(8), which becomes the command.
func (h *Host) spawnReal(ctx context.Context, c run.Cmd, x jexecArgs, p *Proc) (*Proc, Reply) {
	if !h.canExec(p.root, x.argv[0], c.Env) {
		return nil, Fail(1, "jexec: execvp: %s: No such file or directory", x.argv[0])
	}
	argv := []string{"chroot"}
	argv = append(argv, x.as...)
	argv = append(argv, p.root)
	if x.dir != "" && x.dir != "/" {
		argv = append(argv, "/bin/sh", "-c", `cd "$1" || exit 1; shift; exec "$@"`, "sh", x.dir)
	}
	c.Argv, c.Inside, c.Dir = append(argv, x.argv...), nil, ""
	p.real = true
	pids := make(chan int, 1)
	if c.TTY || c.Timeout == run.NoTimeout { // to its end, by the ordinary runner
		go func() {
			res, _ := run.Real{}.Run(ctx, c)
			p.rc = res.RC
			close(p.done)
		}()
		pids <- 0
	} else {
		q, err := run.Real{}.Start(c)
		if err != nil {
			return nil, Fail(1, "jexec: %v", err)
		}
		pids <- q.PID
		ended := make(chan struct{})
		go func() {
			res, _ := q.Wait()
			close(ended)
			p.rc = res.RC
			h.mu.Lock()
			h.procs.list = slices.DeleteFunc(h.procs.list, func(o *Proc) bool { return o == p })
			h.mu.Unlock()
			close(p.done)
		}()
		awaitRoot(q.PID, p.root, ended)
	}
	if p.PID = <-pids; p.PID != 0 {
		h.procs.list = append(h.procs.list, p)
	}
	return p, Reply{}
}

// awaitRoot waits until a process has changed its root: before that no signal to its jail would find it.
func awaitRoot(pid int, root string, ended <-chan struct{}) {
	for limit := time.Now().Add(30 * time.Second); time.Now().Before(limit); {
		if at, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/root"); err == nil && at == root {
			return
		}
		select {
		case <-ended:
			return
		case <-time.After(2 * time.Millisecond):
		}
	}
}

func (h *Host) canExec(root, argv0 string, env []string) bool {
	if strings.Contains(argv0, "/") {
		_, err := os.Lstat(filepath.Join(root, argv0))
		return err == nil
	}
	for _, e := range env {
		if path, ok := strings.CutPrefix(e, "PATH="); ok {
			for dir := range strings.SplitSeq(path, ":") {
				if _, err := os.Lstat(filepath.Join(root, dir, argv0)); err == nil {
					return true
				}
			}
		}
	}
	return false
}

// pidsIn lists the processes whose root is path, by /proc of the Linux host that plays along.
func pidsIn(path string) (out []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if root, err := os.Readlink("/proc/" + e.Name() + "/root"); err == nil && root == path {
			out = append(out, pid)
		}
	}
	return out
}

// signal all processes of j; h is locked.
func (h *Host) signal(j *Jail, sig syscall.Signal) {
	if h.procs.chroot {
		for _, pid := range pidsIn(j.Path) {
			_ = syscall.Kill(pid, sig)
		}
		return
	}
	for _, p := range slices.Clone(h.procs.list) {
		if p.JID == j.JID && (sig == syscall.SIGKILL || !p.stubborn) {
			p.end(128 + int(sig))
		}
	}
}

// busy says whether a process of j is left; h is locked.
func (h *Host) busy(j *Jail) bool {
	if h.procs.chroot {
		return len(pidsIn(j.Path)) > 0
	}
	return slices.ContainsFunc(h.procs.list, func(p *Proc) bool { return p.JID == j.JID })
}

// Procs lists the processes of all jails, as sysctl kern.proc does.
func (h *Host) Procs() []Proc {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []Proc
	for _, p := range h.procs.list {
		out = append(out, Proc{PID: p.PID, JID: p.JID, Start: p.Start})
	}
	if !h.procs.chroot {
		return out
	}
	for _, j := range h.jails {
		for _, pid := range pidsIn(j.Path) {
			if !slices.ContainsFunc(out, func(p Proc) bool { return p.PID == pid }) {
				out = append(out, Proc{PID: pid, JID: j.JID})
			}
		}
	}
	return out
}

// WatchPID waits for a process that somebody else started, as kqueue(2) can; known is false when there is none.
func (h *Host) WatchPID(pid int) func(context.Context) (rc int, known bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := slices.IndexFunc(h.procs.list, func(p *Proc) bool { return p.PID == pid })
	if i < 0 {
		return func(context.Context) (int, bool, error) { return 0, false, nil }
	}
	p := h.procs.list[i]
	return func(ctx context.Context) (int, bool, error) {
		select {
		case <-p.done:
			return p.rc, true, nil
		case <-ctx.Done():
			return 0, false, ctx.Err()
		}
	}
}

// EndProc ends a noted process by itself.
func (h *Host) EndProc(pid, rc int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range slices.Clone(h.procs.list) {
		if p.PID == pid {
			p.end(rc)
		}
	}
}

func jexecCommand(*Host, run.Cmd, []string) Reply { return Fail(1, "jexec is not called by programs") }

func readFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	raw, err := io.ReadAll(f)
	return string(raw), err
}
