package transfer

import (
	"time"

	"github.com/rexcarcer/rexcarcer/zfssync"
)

// Progress of one stream.
type Progress struct {
	Object   zfssync.Object
	Snapshot string
	Source   string        // from where it comes now
	Bytes    int64         // of the stream so far
	Total    int64         // what it will be, about; 0 when unknown
	Rate     float64       // bytes per second since it began here
	Left     time.Duration // until it is done, at that rate; 0 when unknown
	Done     bool
}

// progressEvery is how often a transfer tells how far it is.
const progressEvery = 500 * time.Millisecond

// teller keeps a stream's entry on the board, and calls a hook from time to time. It is used by one goroutine at a time.
type teller struct {
	*entry
	tell func(Progress)
	last time.Time
	came *tally // of the whole call; may be nil
}

func newTeller(tell func(Progress), step Step) *teller {
	e := &entry{object: step.Snapshot.Object, snapshot: step.Snapshot.Name, since: time.Now()}
	if step.From == "" {
		e.total = step.Snapshot.Bytes // of a difference nobody knows before
	}
	return &teller{entry: e, tell: tell, last: e.since}
}

// begin says that the first bytes of the stream are here already.
func (t *teller) begin(bytes int64) {
	t.first = bytes
	t.bytes.Store(bytes)
}

// at tells that bytes of the stream are here, and that the newest came from source.
func (t *teller) at(source string, bytes int64, done bool) {
	t.entry.from(source)
	t.bytes.Store(bytes)
	if done {
		t.came.add(source, bytes-t.first)
	}
	if t.tell == nil {
		return
	}
	now := time.Now()
	if !done && now.Sub(t.last) < progressEvery {
		return
	}
	t.last = now
	p := t.progress(now)
	if done {
		p.Total, p.Left, p.Done = p.Bytes, 0, true
	}
	t.tell(p)
}
