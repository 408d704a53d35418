package hostagent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// maxLogBytes is how long a jail's log grows before it is cut; one older part
// of the same length is kept beside it.
const maxLogBytes = 16 << 20

// rotateEvery is short: a jail can write a lot in a second.
const rotateEvery = time.Second

// rotate keeps the logs of this host's jails short, and marks when they grew,
// until ctx ends. A jail holds its log open for appending, also across
// restarts of this daemon, so the content is copied away and the file cut: lines
// that are written between the two are lost, which the reader of a log that
// long will not miss.
func (a *Agent) rotate(ctx context.Context) {
	marks := marker{}
	said := false
	for sleep(ctx, rotateEvery) {
		a.mu.Lock()
		var paths []string
		for uuid := range a.workers {
			paths = append(paths, a.logPath(uuid))
		}
		a.mu.Unlock()
		var errs []error
		for _, p := range paths {
			errs = append(errs, rotateOne(p, maxLogBytes, marks, a.c.Clock()))
		}
		err := errors.Join(errs...)
		if err != nil && !said {
			a.c.Log.Warn("cannot shorten or mark logs", "err", err)
		}
		said = err != nil // once, not each second
		if len(marks) > 2*len(paths)+64 {
			clear(marks) // of jails that are gone
		}
	}
}

// rotateOne marks the log at path, and cuts it when it is longer than limit.
func rotateOne(path string, limit int64, marks marker, now time.Time) (err error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Size() <= limit {
		return marks.put(path, info.Size(), now)
	}
	from, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	to, err := os.OpenFile(path+".1", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	if err = errors.Join(err, to.Close()); err != nil {
		return fmt.Errorf("copy %s: %w", path, err)
	}
	if err := os.Rename(marksOf(path), marksOf(path+".1")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := from.Truncate(0); err != nil {
		return err
	}
	marks[path] = mark{now.UnixMilli(), 0}
	return appendMark(path, marks[path])
}
