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

// LogView says how much of a log is wanted.
type LogView struct {
	Tail     int       // lines from the end; below 0: all
	Since    time.Time // what was written later, and up to markEvery before; zero: all
	Follow   bool      // go on with what comes, until ctx ends
	UntilEnd bool      // with Follow: until the jail's newest Run is over, with all that it wrote
}

// Logs copies what a jail of this host wrote, to its console and by syslog,
// to w.
func (a *Agent) Logs(ctx context.Context, name fsm.JailName, v LogView, w io.Writer) error {
	j, ok := a.c.Cluster.State().Jails.Get(string(name))
	if !ok {
		return fmt.Errorf("jail %s: %w", name, jail.ErrNotFound)
	}
	if err := a.copyLog(ctx, a.logPath(j.UUID), v, w, func() bool { return a.lastLook(name, v) }); err != nil {
		return fmt.Errorf("logs of jail %s: %w", name, err)
	}
	return nil
}

// lastLook says that a copy which begins now is the last: a first process that
// has ended writes no more.
func (a *Agent) lastLook(name fsm.JailName, v LogView) bool {
	if !v.Follow || !v.UntilEnd {
		return !v.Follow
	}
	r, ok := a.c.Cluster.State().Runs.Get(string(name))
	return !ok || r.Phase.Over()
}

// copyLog copies, and again, until last said before a copy that it is the last.
func (a *Agent) copyLog(ctx context.Context, path string, v LogView, w io.Writer, last func() bool) error {
	done := last()
	f, err := os.Open(path)
	for errors.Is(err, fs.ErrNotExist) {
		if done || !sleep(ctx, logPoll) {
			return nil // nothing was written
		}
		done = last()
		f, err = os.Open(path)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := copyOlder(path, f, v, w); err != nil {
		return err
	}
	for {
		if _, err := io.Copy(w, f); err != nil {
			return err
		}
		if done || !sleep(ctx, logPoll) {
			return nil
		}
		done = last()
		if err := rewindIfCut(f); err != nil {
			return err
		}
	}
}

const logPoll = 200 * time.Millisecond

// copyOlder places f, the log at path, where v begins. Where that is in the
// part that was cut off, it copies from there.
func copyOlder(path string, f *os.File, v LogView, w io.Writer) error {
	begin, whole, err := markedSince(path, v.Since)
	if err != nil {
		return err
	}
	left := v.Tail
	if v.Tail < 0 {
		_, err = f.Seek(begin, io.SeekStart)
	} else {
		left, err = seekTail(f, begin, v.Tail)
	}
	if err != nil || !whole || v.Tail >= 0 && left == 0 {
		return err
	}
	older, err := os.Open(path + ".1")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer older.Close()
	if begin, _, err = markedSince(path+".1", v.Since); err != nil {
		return err
	}
	if v.Tail < 0 {
		_, err = older.Seek(begin, io.SeekStart)
	} else {
		_, err = seekTail(older, begin, left)
	}
	if err == nil {
		_, err = io.Copy(w, older)
	}
	return err
}

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

// seekTail places f before its last n lines, not before the offset begin, and
// returns how many there were too few.
func seekTail(f *os.File, begin int64, n int) (missing int, err error) {
	const block = 64 << 10
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil || n == 0 {
		return 0, err
	}
	if end > begin {
		n-- // the line that ends the file, or the open one behind it
	}
	buf := make([]byte, block)
	for at := end; at > begin; {
		size := min(int64(block), at-begin)
		at -= size
		if _, err := f.ReadAt(buf[:size], at); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		part := buf[:size]
		if at+size == end && part[size-1] == '\n' {
			part = part[:size-1] // the last line's own end
		}
		for i := bytes.LastIndexByte(part, '\n'); i >= 0; i = bytes.LastIndexByte(part[:i], '\n') {
			if n == 0 {
				_, err := f.Seek(at+int64(i)+1, io.SeekStart)
				return 0, err
			}
			n--
		}
	}
	_, err = f.Seek(min(begin, end), io.SeekStart)
	return n, err
}

// LogLine adds one line to the log of a jail that this host has. A write of
// one line is one piece: jails append to the same file.
func (a *Agent) LogLine(uuid string, line []byte) (err error) {
	a.mu.Lock()
	_, ours := a.workers[uuid]
	a.mu.Unlock()
	if !ours {
		return fmt.Errorf("log of jail %s: %w", uuid, ErrElsewhere)
	}
	f, err := os.OpenFile(a.logPath(uuid), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return fmt.Errorf("log of jail: %w", err)
	}
	_, err = f.Write(line)
	return errors.Join(err, f.Close())
}
