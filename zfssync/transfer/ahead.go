package transfer

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"github.com/rexcarcer/rexcarcer/zfssync"
)

// aheadBytes is how much of an image's later layers may lie in files while the first ones come.
const aheadBytes = 1 << 30

var errTooFar = errors.New("more than may be fetched ahead")

// ahead fetches the later steps of an image while the store still takes the first ones: a layer can only be received on
// the one below it, but its stream may come before, from a source that has nothing else to do. Such a stream lies in a
// file without a name until its turn.
type ahead struct {
	c       *Client
	steps   []Step
	sources []Source
	came    *tally
	parts   []*later
	room    atomic.Int64
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// later is one step but the first.
type later struct {
	taken atomic.Bool   // by whoever fetches it
	done  chan struct{} // closed when err and file are set
	file  *os.File
	err   error
}

// lookAhead begins to fetch all steps but the first, where that can help: several steps, several sources, and streams that
// come as they are. The caller must stop it.
func (c *Client) lookAhead(ctx context.Context, steps []Step, sources []Source, came *tally) *ahead {
	a := &ahead{c: c, steps: steps, sources: sources, came: came, parts: make([]*later, len(steps)), cancel: func() {}}
	helpers := min(cap(c.slots), len(sources), len(steps)) - 1
	if helpers < 1 || c.spool != "" {
		return a
	}
	for i := 1; i < len(steps); i++ {
		if !c.spares(ctx, steps[i]) { // that would be better than to have it early
			a.parts[i] = &later{done: make(chan struct{})}
		}
	}
	a.room.Store(c.ahead)
	ctx, a.cancel = context.WithCancel(ctx)
	for range helpers {
		a.running.Go(func() { a.run(ctx) })
	}
	return a
}

// run fetches one part after another.
func (a *ahead) run(ctx context.Context) {
	for i, p := range a.parts {
		if p == nil || ctx.Err() != nil || sizeOf(a.steps, i) > a.room.Load() || !p.taken.CompareAndSwap(false, true) {
			continue
		}
		p.file, p.err = a.fetch(ctx, a.steps[i])
		close(p.done)
	}
}

// sizeOf guesses the size of a step's stream. On ZFS a snapshot's size holds that of what is below it.
func sizeOf(steps []Step, i int) int64 {
	n := steps[i].Snapshot.Bytes
	if steps[i].Snapshot.Format == zfssync.FormatZFS {
		n -= steps[i-1].Snapshot.Bytes
	}
	return max(n, 0)
}

func (a *ahead) fetch(ctx context.Context, s Step) (f *os.File, err error) {
	release, err := a.c.slot(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	if f, err = unnamed(a.c.work); err != nil {
		return nil, err
	}
	tell := newTeller(a.c.tell, s)
	tell.came = a.came
	defer a.c.board.add(tell.entry)()
	p := a.c.pull(a.c.query(s), a.sources, tell)
	err = p.feedTo(ctx, func(_ context.Context, r io.Reader) error {
		_, err := io.Copy(bounded{f, &a.room}, r)
		return spaceError(err)
	})
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// stream waits for step i if it is on its way already. nil: it is to be fetched now.
func (a *ahead) stream(ctx context.Context, i int) *os.File {
	p := a.parts[i]
	if p == nil || p.taken.CompareAndSwap(false, true) {
		return nil
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		return nil
	}
	if p.err != nil {
		a.c.log.Info("not fetched ahead", "what", a.steps[i].String(), "err", p.err)
		return nil
	}
	f := p.file
	p.file = nil
	return f
}

// read ends the use of a file that stream returned.
func (a *ahead) read(f *os.File) error {
	if info, err := f.Stat(); err == nil {
		a.room.Add(info.Size())
	}
	return f.Close()
}

// stop ends what still runs, and removes what nobody took.
func (a *ahead) stop() {
	a.cancel()
	a.running.Wait()
	for _, p := range a.parts {
		if p != nil && p.file != nil {
			_ = p.file.Close() // it has no name, and is gone with this
		}
	}
}

// bounded writes as long as there is room.
type bounded struct {
	w    io.Writer
	room *atomic.Int64
}

func (b bounded) Write(p []byte) (int, error) {
	if b.room.Add(-int64(len(p))) < 0 {
		return 0, errTooFar
	}
	return b.w.Write(p)
}

// unnamed makes a file that is gone when it is closed, or with the process.
func unnamed(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "rexcarcer-sync-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
