package hostagent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/jail"
)

// ErrElsewhere says that the jail has no Run on this host.
var ErrElsewhere = errors.New("the jail does not run on this host")

// Exec runs a command in a running jail of this host; see jail.Driver.
func (a *Agent) Exec(ctx context.Context, name fsm.JailName, x jail.Exec) (int, error) {
	j, ok := a.c.Cluster.State().Jails.Get(string(name))
	if !ok {
		return 0, fmt.Errorf("jail %s: %w", name, jail.ErrNotFound)
	}
	w := WantOf(a.c.Cluster.State(), a.c.Host, name, j.UUID)
	if w.Run == nil {
		return 0, fmt.Errorf("jail %s: %w", name, ErrElsewhere)
	}
	var err error
	if w.Start, err = a.startOf(w); err != nil {
		return 0, err
	}
	x.Env = append(environ(w), x.Env...)
	rc, err := a.c.Jails.Exec(ctx, jailID(j.UUID), x)
	if err != nil {
		return 0, fmt.Errorf("exec in jail %s: %w", name, err)
	}
	return rc, nil
}

// Logs copies the output of a jail to w: its last tail lines (below 0: all),
// and with follow what comes, until ctx ends or the jail is gone.
func (a *Agent) Logs(ctx context.Context, name fsm.JailName, tail int, follow bool, w io.Writer) error {
	return a.copyLog(ctx, name, tail, w, func() bool { return !follow })
}

// LogsUntilEnd copies the output of a jail to w until its newest Run is over:
// all of it, because a first process that has ended writes no more.
func (a *Agent) LogsUntilEnd(ctx context.Context, name fsm.JailName, tail int, w io.Writer) error {
	return a.copyLog(ctx, name, tail, w, func() bool {
		r, ok := a.c.Cluster.State().Runs.Get(string(name))
		return !ok || r.Phase.Over()
	})
}

// copyLog copies, and again, until last said before a copy that it is the last.
func (a *Agent) copyLog(ctx context.Context, name fsm.JailName, tail int, w io.Writer, last func() bool) error {
	j, ok := a.c.Cluster.State().Jails.Get(string(name))
	if !ok {
		return fmt.Errorf("jail %s: %w", name, jail.ErrNotFound)
	}
	done := last()
	f, err := os.Open(a.logPath(j.UUID))
	for errors.Is(err, fs.ErrNotExist) {
		if done || !sleep(ctx, logPoll) {
			return nil // nothing was written
		}
		done = last()
		f, err = os.Open(a.logPath(j.UUID))
	}
	if err != nil {
		return fmt.Errorf("logs of jail %s: %w", name, err)
	}
	defer f.Close()
	if tail >= 0 {
		if err := seekTail(f, tail); err != nil {
			return fmt.Errorf("logs of jail %s: %w", name, err)
		}
	}
	for {
		if _, err := io.Copy(w, f); err != nil {
			return fmt.Errorf("logs of jail %s: %w", name, err)
		}
		if done || !sleep(ctx, logPoll) {
			return nil
		}
		done = last()
		if err := rewindIfCut(f); err != nil {
			return fmt.Errorf("logs of jail %s: %w", name, err)
		}
	}
}

const logPoll = 200 * time.Millisecond

// rewindIfCut goes back to the start of a file that was truncated below us.
func rewindIfCut(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	at, err := f.Seek(0, io.SeekCurrent)
	if err == nil && info.Size() < at {
		_, err = f.Seek(0, io.SeekStart)
	}
	return err
}

// seekTail places f before its last n lines.
func seekTail(f *os.File, n int) error {
	const block = 64 << 10
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil || n == 0 {
		return err
	}
	buf := make([]byte, block)
	for at := end; at > 0; {
		size := min(int64(block), at)
		at -= size
		if _, err := f.ReadAt(buf[:size], at); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		part := buf[:size]
		if at+size == end && part[size-1] == '\n' {
			part = part[:size-1] // the last line's own end
		}
		for i := bytes.LastIndexByte(part, '\n'); i >= 0; i = bytes.LastIndexByte(part[:i], '\n') {
			if n--; n == 0 {
				_, err := f.Seek(at+int64(i)+1, io.SeekStart)
				return err
			}
		}
	}
	_, err = f.Seek(0, io.SeekStart)
	return err
}
