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

// teller calls a hook from time to time. It is used by one goroutine.
type teller struct {
	tell  func(Progress)
	p     Progress
	begun time.Time
	first int64 // bytes that were here before it began
	last  time.Time
}

func newTeller(tell func(Progress), step Step) *teller {
	now := time.Now()
	t := &teller{tell: tell, begun: now, last: now}
	t.p = Progress{Object: step.Snapshot.Object, Snapshot: step.Snapshot.Name}
	if step.From == "" {
		t.p.Total = step.Snapshot.Bytes // of a difference nobody knows before
	}
	return t
}

// at tells that bytes have come, from source.
func (t *teller) at(source string, bytes int64, done bool) {
	if t.tell == nil {
		return
	}
	now := time.Now()
	if !done && now.Sub(t.last) < progressEvery {
		return
	}
	t.last = now
	t.p.Source, t.p.Bytes, t.p.Done = source, bytes, done
	if s := now.Sub(t.begun).Seconds(); s > 0 {
		t.p.Rate = float64(bytes-t.first) / s
	}
	t.p.Total, t.p.Left = max(t.p.Total, bytes), 0
	if done {
		t.p.Total = bytes
	}
	if t.p.Rate > 0 && t.p.Total > bytes {
		t.p.Left = time.Duration(float64(t.p.Total-bytes) / t.p.Rate * float64(time.Second))
	}
	t.tell(t.p)
}
