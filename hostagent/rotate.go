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

const rotateEvery = 30 * time.Second

// rotate keeps the logs of this host's jails short, until ctx ends. A jail
// holds its log open for appending, also across restarts of this daemon, so
// the content is copied away and the file cut: lines that are written between
// the two are lost, which the reader of a log that long will not miss.
func (a *Agent) rotate(ctx context.Context) {
	for sleep(ctx, rotateEvery) {
		a.mu.Lock()
		var paths []string
		for uuid := range a.workers {
			paths = append(paths, a.logPath(uuid))
		}
		a.mu.Unlock()
		for _, p := range paths {
			if err := rotateOne(p, maxLogBytes); err != nil {
				a.c.Log.Warn("cannot shorten a log", "err", err)
			}
		}
	}
}

func rotateOne(path string, limit int64) (err error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) || (err == nil && info.Size() <= limit) {
		return nil
	}
	if err != nil {
		return err
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
	return from.Truncate(0)
}
