package jail

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// realKernel asks the kernel of this host.
type realKernel struct{}

func (realKernel) start(c run.Cmd) (int, func() int, error) {
	p, err := run.Real{}.Start(c)
	if err != nil {
		return 0, nil, err
	}
	return p.PID, func() int { res, _ := p.Wait(); return res.RC }, nil
}

func (realKernel) processes() ([]jailProcess, error) {
	for range 5 { // the list may grow between asking for its size and for it
		raw, err := unix.SysctlRaw("kern.proc.proc")
		if errors.Is(err, unix.ENOMEM) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("sysctl kern.proc.proc: %w", err)
		}
		return parseKinfo(raw, os.Getpagesize())
	}
	return nil, errors.New("sysctl kern.proc.proc: the list grows faster than it can be read")
}

// watch uses kqueue(2): NOTE_EXIT brings the wait status of any process, not only of our children. It is set up before
// watch returns, so that an end right after is not missed.
func (realKernel) watch(pid int) (func(context.Context) (int, bool, error), error) {
	kq, err := unix.Kqueue()
	if err != nil {
		return nil, fmt.Errorf("kqueue: %w", err)
	}
	unix.CloseOnExec(kq)
	var ev unix.Kevent_t
	unix.SetKevent(&ev, pid, unix.EVFILT_PROC, unix.EV_ADD|unix.EV_ONESHOT)
	ev.Fflags = unix.NOTE_EXIT
	if _, err := unix.Kevent(kq, []unix.Kevent_t{ev}, nil, nil); err != nil {
		_ = unix.Close(kq)
		if errors.Is(err, unix.ESRCH) { // gone already
			return func(context.Context) (int, bool, error) { return 0, false, nil }, nil
		}
		return nil, fmt.Errorf("kqueue: %w", err)
	}
	return func(ctx context.Context) (int, bool, error) {
		defer unix.Close(kq)
		return awaitExit(ctx, kq)
	}, nil
}

func awaitExit(ctx context.Context, kq int) (int, bool, error) {
	out := make([]unix.Kevent_t, 1)
	pause := unix.NsecToTimespec(int64(250 * time.Millisecond)) // how long Close may have to wait
	for ctx.Err() == nil {
		n, err := unix.Kevent(kq, nil, out, &pause)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return 0, false, fmt.Errorf("kqueue: %w", err)
		}
		if n == 1 {
			return exitCodeOf(syscall.WaitStatus(out[0].Data)), true, nil
		}
	}
	return 0, false, ctx.Err()
}

func exitCodeOf(ws syscall.WaitStatus) int {
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}
