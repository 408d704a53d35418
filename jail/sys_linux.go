package jail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	goruntime "runtime"
	"strconv"
	"time"
	"unsafe"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// BecomeReaper makes this process the parent of whatever its children leave behind (PR_SET_CHILD_SUBREAPER, prctl(2)): the
// exit code of a jail goes to its parent, and a detached runtime ends at once. main calls it before the first Start.
func BecomeReaper() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become child subreaper: %w", err)
	}
	return nil
}

// process is a handle on one process that no reuse of its pid can redirect.
type process struct {
	pid int
	f   *os.File // pidfd, in the runtime's poller: a wait costs no thread
}

// openProcess returns errGone when there is no such process.
func openProcess(pid int) (*process, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) {
		return nil, errGone
	}
	if err != nil {
		return nil, fmt.Errorf("open pidfd of %d: %w", pid, err)
	}
	return &process{pid: pid, f: os.NewFile(uintptr(fd), "pidfd")}, nil
}

func (p *process) close() error { return p.f.Close() }

// signal sends sig; a process that is gone is success.
func (p *process) signal(sig int) error {
	conn, err := p.f.SyscallConn()
	if err != nil {
		return fmt.Errorf("signal process %d: %w", p.pid, err)
	}
	var serr error
	if err := conn.Control(func(fd uintptr) { serr = unix.PidfdSendSignal(int(fd), unix.Signal(sig), nil, 0) }); err != nil {
		return fmt.Errorf("signal process %d: %w", p.pid, err)
	}
	if serr != nil && !errors.Is(serr, unix.ESRCH) {
		return fmt.Errorf("signal process %d: %w", p.pid, serr)
	}
	return nil
}

// wait blocks until the process has ended and says how. A pidfd becomes readable then (pidfd_open(2)).
func (p *process) wait(ctx context.Context) (Exit, error) {
	stop := context.AfterFunc(ctx, func() { _ = p.f.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	conn, err := p.f.SyscallConn()
	if err != nil {
		return Exit{}, fmt.Errorf("wait for process %d: %w", p.pid, err)
	}
	var fd int
	err = conn.Read(func(u uintptr) bool {
		fd = int(u)
		n, perr := unix.Poll([]unix.PollFd{{Fd: int32(u), Events: unix.POLLIN}}, 0)
		return perr == nil && n > 0
	})
	if err != nil {
		if ctx.Err() != nil {
			return Exit{}, ctx.Err()
		}
		return Exit{}, fmt.Errorf("wait for process %d: %w", p.pid, err)
	}
	return p.learn(fd), nil
}

// learn asks for the exit status: as the parent by waitid(2), of this one process only (never wait4(-1): os/exec waits for
// its own children in this process), else from /proc, which shows it until the real parent has reaped, else from the pidfd,
// which knows it from then on.
func (p *process) learn(fd int) Exit {
	now := time.Now()
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PIDFD, fd, &info, unix.WEXITED|unix.WNOHANG, nil)
	if err == nil && childPID(&info) != 0 {
		return exitOf(childCode(&info), childStatus(&info), now)
	}
	// Twice, because it may be reaped between the two questions.
	for range 2 {
		ws, ok := zombieExit(p.pid)
		if !ok {
			ws, ok = pidfdExit(fd)
		}
		if !ok {
			continue
		}
		if ws.Signaled() {
			return exitOf(cldKilled, int(ws.Signal()), now)
		}
		return exitOf(cldExited, ws.ExitStatus(), now)
	}
	return Exit{Code: -1, At: now}
}

// zombieExit reads the status of a process that has ended and waits for its parent: field 52 of /proc/PID/stat (proc(5)).
// The pid cannot be another's while it is a zombie, and a new process of that number would not be one.
func zombieExit(pid int) (unix.WaitStatus, bool) {
	f, err := statFields(pid)
	if err != nil || len(f) < 50 || f[0] != "Z" {
		return 0, false
	}
	n, err := strconv.ParseUint(f[49], 10, 32)
	return unix.WaitStatus(n), err == nil
}

// Fields of siginfo_t for SIGCHLD, which x/sys leaves as bytes: si_pid, si_uid, si_status follow the three ints and the
// padding to the union (sigaction(2), asm-generic/siginfo.h on 64-bit).
const (
	cldExited = 1
	siPID     = 16
	siStatus  = 24
)

const cldKilled = 2 // CLD_KILLED; CLD_DUMPED is 3

func childCode(i *unix.Siginfo) int { return int(i.Code) }
func childPID(i *unix.Siginfo) int {
	return int(*(*int32)(unsafe.Add(unsafe.Pointer(i), siPID)))
}
func childStatus(i *unix.Siginfo) int {
	return int(*(*int32)(unsafe.Add(unsafe.Pointer(i), siStatus)))
}

func exitOf(code, status int, at time.Time) Exit {
	if code == cldExited {
		return Exit{Known: true, Code: status, At: at}
	}
	return Exit{Known: true, Code: 128 + status, Signal: unix.SignalName(unix.Signal(status)), At: at}
}

// pidfdInfo is struct pidfd_info of linux/pidfd.h, first version (64 bytes).
type pidfdInfo struct {
	mask, cgroup uint64
	ids          [11]uint32
	exit         int32
}

const (
	pidfdGetInfo  = 0xC040FF0B // _IOWR(PIDFS_IOCTL_MAGIC, 11, struct pidfd_info)
	pidfdInfoExit = 1 << 3
)

func pidfdExit(fd int) (unix.WaitStatus, bool) {
	info := pidfdInfo{mask: pidfdInfoExit}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), pidfdGetInfo, uintptr(unsafe.Pointer(&info)))
	if errno != 0 || info.mask&pidfdInfoExit == 0 {
		return 0, false
	}
	return unix.WaitStatus(info.exit), true
}

// exitInfoSupported: exit codes of foreign processes came with Linux 6.15.
func exitInfoSupported() bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	var major, minor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor); err != nil {
		return false
	}
	return major > 6 || (major == 6 && minor >= 15)
}

// openIn opens name as if root were "/": links, absolute ones too, stay inside (openat2(2), RESOLVE_IN_ROOT).
func openIn(root, name string, flags int) (*os.File, error) {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: root, Err: err}
	}
	defer unix.Close(dir)
	for range 16 { // EAGAIN: a rename raced with the walk
		fd, err := unix.Openat2(dir, name, &unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: name, Err: err}
		}
		return os.NewFile(uintptr(fd), name), nil
	}
	return nil, &os.PathError{Op: "open", Path: name, Err: unix.EAGAIN}
}

func readIn(root, name string, limit int64) ([]byte, error) {
	f, err := openIn(root, name, unix.O_RDONLY|unix.O_NONBLOCK) // a FIFO must not hang us
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}

func statIn(root, name string) (os.FileInfo, error) {
	f, err := openIn(root, name, unix.O_PATH)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Stat()
}

// resizeTerminalOf sets the size of the terminal that is a process's standard input. What is opened is looked at before it
// is used: a process in a jail may have put anything there, and only a pseudo-terminal is harmless.
func resizeTerminalOf(pid int, s WinSize) error {
	fd, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/fd/0", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open terminal of process %d: %w", pid, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("open terminal of process %d: %w", pid, err)
	}
	const firstPts, lastPts = 136, 143 // UNIX98_PTY_SLAVE_MAJOR and the seven after it
	if major := unix.Major(st.Rdev); st.Mode&unix.S_IFMT != unix.S_IFCHR || major < firstPts || major > lastPts {
		return fmt.Errorf("standard input of process %d is no pseudo-terminal", pid)
	}
	tty, err := os.OpenFile("/proc/self/fd/"+strconv.Itoa(fd), os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("open terminal of process %d: %w", pid, err)
	}
	defer tty.Close()
	return setSize(tty, s)
}

// seccompFor returns the profile for a set of capabilities, encoded. It is for the native architecture alone: the
// runtime compiles it at each start, and the two that moby adds on amd64 (i386, x32) are two thirds of the work (7 of 24 ms
// of CPU for a whole crun start). Calls of another architecture kill, so 32-bit programs do not run in jails.
func seccompFor(caps []string) (json.RawMessage, error) {
	p, err := seccomp.GetDefaultProfile(&specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: caps}}})
	if err != nil {
		return nil, fmt.Errorf("build seccomp profile: %w", err)
	}
	if native, ok := map[string]specs.Arch{"amd64": specs.ArchX86_64, "arm64": specs.ArchAARCH64}[goruntime.GOARCH]; ok {
		p.Architectures = []specs.Arch{native}
	}
	return json.Marshal(p)
}

// hardOpenFiles is our own hard limit of open files, which we may hand on but not raise.
func hardOpenFiles() uint64 {
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) != nil {
		return 1024
	}
	return r.Max
}

// tryLock takes an exclusive lock that dies with the last holder of the open file: we and the runtime that inherits it.
func tryLock(f *os.File) (bool, error) {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return true, nil
}

// isCgroup2 says whether path is a cgroup v2 mount.
func isCgroup2(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC
}
