package raftlog

import (
	"testing"

	"github.com/hashicorp/raft"
)

// FuzzRead gives the reader any bytes behind a segment's head: it must not
// panic, and what it takes for entries follows one another.
func FuzzRead(f *testing.F) {
	seed := salted(1)
	b := batch{seed: seed}
	b.entry(entry(1, 1))
	b.entry(entry(7, 2))
	f.Add(append([]byte(nil), b.buf...))
	b.entry(entry(8, 2))
	b.mark(kindCut, 8)
	b.mark(kindDrop, 1)
	f.Add(append([]byte(nil), b.buf...))
	f.Add(append(append([]byte(nil), b.buf[:50]...), b.buf...))
	f.Add(make([]byte, 100))
	f.Fuzz(func(t *testing.T, body []byte) {
		s := &segment{path: "log-1", end: segmentHead, seed: seed}
		l := &Log{segments: []*segment{s}}
		if _, err := l.readSegment(s, append(make([]byte, segmentHead), body...)); err != nil {
			return
		}
		for i, p := range s.place {
			r, ok := parse(body[p.at-segmentHead:], seed)
			if !ok || r.index != s.first+uint64(i) {
				t.Fatalf("entry %d is not at byte %d", s.first+uint64(i), p.at)
			}
			r.log(new(raft.Log))
		}
	})
}
