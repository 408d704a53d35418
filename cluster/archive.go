package cluster

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/google/renameio/v2"
	"github.com/hashicorp/raft"
	"github.com/klauspost/compress/zstd"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// archive keeps the entries that raft forgets: segments seg-FIRST-LAST.zst of
// framed entries, and a State state-INDEX.rcs at the end of each. Files are
// written aside and renamed, so what has its name is whole.
//
// Frame: index u64, length u32, CRC-32C u32 (big-endian), then the entry.
type archive struct {
	dir      string
	log      raft.LogStore
	maxBytes int64
	maxAge   time.Duration

	mu sync.Mutex // one writer; readers open files by name
}

const segmentEntries = 65536

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func openArchive(dir string, log raft.LogStore, maxBytes int64, maxAge time.Duration) (*archive, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make archive directory: %w", err)
	}
	return &archive{dir: dir, log: log, maxBytes: maxBytes, maxAge: maxAge}, nil
}

type segment struct {
	first, last uint64
	path        string
}

func (a *archive) segments() ([]segment, error) {
	names, err := filepath.Glob(filepath.Join(a.dir, "seg-*.zst"))
	if err != nil {
		return nil, err
	}
	var out []segment
	for _, p := range names {
		var s segment
		if _, err := fmt.Sscanf(filepath.Base(p), "seg-%d-%d.zst", &s.first, &s.last); err != nil {
			return nil, fmt.Errorf("archive: %s is not a segment's name: move it away", p)
		}
		s.path = p
		out = append(out, s)
	}
	slices.SortFunc(out, func(x, y segment) int { return int(int64(x.first) - int64(y.first)) })
	return out, nil
}

// catchUp archives all entries up to s.Index that are not archived yet, then s.
func (a *archive) catchUp(s *fsm.State) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	segs, err := a.segments()
	if err != nil {
		return err
	}
	next := uint64(1)
	if len(segs) > 0 {
		next = segs[len(segs)-1].last + 1
	}
	first, err := a.log.FirstIndex()
	if err != nil {
		return fmt.Errorf("archive: read log: %w", err)
	}
	next = max(next, first) // older ones came to this host only inside a snapshot
	for next <= s.Index {
		last := min(s.Index, next+segmentEntries-1)
		if err := a.writeSegment(next, last); err != nil {
			return fmt.Errorf("archive entries %d to %d: %w", next, last, err)
		}
		next = last + 1
	}
	if err := a.writeState(s); err != nil {
		return fmt.Errorf("archive state at %d: %w", s.Index, err)
	}
	return a.prune()
}

func (a *archive) writeSegment(first, last uint64) error {
	f, err := renameio.NewPendingFile(filepath.Join(a.dir, fmt.Sprintf("seg-%020d-%020d.zst", first, last)), renameio.WithPermissions(0o600))
	if err != nil {
		return err
	}
	defer func() { _ = f.Cleanup() }() // after a replace there is nothing to clean up
	z, err := zstd.NewWriter(f)
	if err != nil {
		return err
	}
	var l raft.Log
	for i := first; i <= last; i++ {
		if err := a.log.GetLog(i, &l); err != nil {
			return errors.Join(fmt.Errorf("read log entry %d: %w", i, err), z.Close())
		}
		if l.Type != raft.LogCommand {
			continue
		}
		var head [16]byte
		binary.BigEndian.PutUint64(head[:], i)
		binary.BigEndian.PutUint32(head[8:], uint32(len(l.Data)))
		binary.BigEndian.PutUint32(head[12:], crc32.Checksum(l.Data, castagnoli))
		if _, err := z.Write(head[:]); err != nil {
			return errors.Join(err, z.Close())
		}
		if _, err := z.Write(l.Data); err != nil {
			return errors.Join(err, z.Close())
		}
	}
	if err := z.Close(); err != nil {
		return err
	}
	return f.CloseAtomicallyReplace()
}

func (a *archive) writeState(s *fsm.State) error {
	f, err := renameio.NewPendingFile(filepath.Join(a.dir, fmt.Sprintf("state-%020d.rcs", s.Index)), renameio.WithPermissions(0o600))
	if err != nil {
		return err
	}
	defer func() { _ = f.Cleanup() }()
	w := bufio.NewWriterSize(f, 1<<16)
	if err := fsm.Write(w, s); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.CloseAtomicallyReplace()
}

func (a *archive) states() ([]uint64, error) {
	names, err := filepath.Glob(filepath.Join(a.dir, "state-*.rcs"))
	if err != nil {
		return nil, err
	}
	var out []uint64
	for _, p := range names {
		var i uint64
		if _, err := fmt.Sscanf(filepath.Base(p), "state-%d.rcs", &i); err != nil {
			return nil, fmt.Errorf("archive: %s is not a state's name: move it away", p)
		}
		out = append(out, i)
	}
	slices.Sort(out)
	return out, nil
}

func (a *archive) statePath(index uint64) string {
	return filepath.Join(a.dir, fmt.Sprintf("state-%020d.rcs", index))
}

// stateAtOrBefore returns the newest archived State at or below index; the
// empty State counts as long as the entries reach back to the first.
func (a *archive) stateAtOrBefore(index uint64) (*fsm.State, error) {
	states, err := a.states()
	if err != nil {
		return nil, err
	}
	for _, i := range slices.Backward(states) {
		if i > index {
			continue
		}
		return a.readState(i)
	}
	oldest, err := a.oldest()
	if err != nil {
		return nil, err
	}
	if oldest > 1 {
		return nil, &tooOld{index, oldest}
	}
	return fsm.New(), nil
}

// oldest is the first index that archive or log still have.
func (a *archive) oldest() (uint64, error) {
	segs, err := a.segments()
	if err != nil {
		return 0, err
	}
	if len(segs) > 0 {
		return segs[0].first, nil
	}
	first, err := a.log.FirstIndex()
	if err != nil {
		return 0, fmt.Errorf("archive: read log: %w", err)
	}
	return first, nil
}

// entries yields the commands from first to last, from segments, then from
// the log of raft.
func (a *archive) entries(ctx context.Context, first, last uint64, yield func(fsm.Item) error) error {
	segs, err := a.segments()
	if err != nil {
		return err
	}
	next := first
	for _, s := range segs {
		if s.last < next || s.first > last {
			continue
		}
		if s.first > next {
			return &tooOld{next, s.first}
		}
		if err := readSegment(ctx, s.path, next, last, yield); err != nil {
			return fmt.Errorf("archive: read %s: %w", s.path, err)
		}
		next = s.last + 1
	}
	var l raft.Log
	for ; next <= last; next++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := a.log.GetLog(next, &l)
		if errors.Is(err, raft.ErrLogNotFound) {
			return a.gap(next)
		}
		if err != nil {
			return fmt.Errorf("read log entry %d: %w", next, err)
		}
		if l.Type != raft.LogCommand {
			continue
		}
		if err := yieldEntry(next, l.Data, yield); err != nil {
			return err
		}
	}
	return nil
}

// gap says that the entry next is gone from the log.
func (a *archive) gap(next uint64) error {
	first, err := a.log.FirstIndex()
	if err != nil {
		return fmt.Errorf("archive: read log: %w", err)
	}
	return &tooOld{next, first}
}

func yieldEntry(index uint64, raw []byte, yield func(fsm.Item) error) error {
	e, err := fsm.Decode(raw)
	if err != nil {
		return fmt.Errorf("entry %d: %w", index, err)
	}
	return yield(fsm.Item{Index: index, Entry: e, Raw: raw})
}

func readSegment(ctx context.Context, path string, first, last uint64, yield func(fsm.Item) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return err
	}
	defer z.Close()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		var head [16]byte
		if _, err := io.ReadFull(z, head[:]); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		index, size := binary.BigEndian.Uint64(head[:]), binary.BigEndian.Uint32(head[8:])
		if size > MaxEntryBytes {
			return fmt.Errorf("entry %d claims %d bytes: the segment is damaged", index, size)
		}
		raw := make([]byte, size)
		if _, err := io.ReadFull(z, raw); err != nil {
			return err
		}
		if crc32.Checksum(raw, castagnoli) != binary.BigEndian.Uint32(head[12:]) {
			return fmt.Errorf("entry %d has a wrong checksum: the segment is damaged", index)
		}
		if index < first || index > last {
			continue
		}
		if err := yieldEntry(index, raw, yield); err != nil {
			return err
		}
	}
}

// prune drops the oldest segments above the limits of size and age, with the
// States that only they led to. The newest segment and State always stay.
func (a *archive) prune() error {
	segs, err := a.segments()
	if err != nil {
		return err
	}
	infos := make([]os.FileInfo, len(segs))
	var total int64
	for i, s := range segs {
		if infos[i], err = os.Stat(s.path); err != nil {
			return fmt.Errorf("archive: %w", err)
		}
		total += infos[i].Size()
	}
	var newest time.Time
	if len(infos) > 0 {
		newest = infos[len(infos)-1].ModTime()
	}
	dropped := uint64(0)
	for i := 0; i < len(segs)-1; i++ {
		if total <= a.maxBytes && newest.Sub(infos[i].ModTime()) <= a.maxAge {
			break
		}
		if err := os.Remove(segs[i].path); err != nil {
			return fmt.Errorf("archive: %w", err)
		}
		total -= infos[i].Size()
		dropped = segs[i].last
	}
	return a.pruneStates(dropped)
}

// pruneStates removes States below the first entry that is left, and thins
// the rest out: one for every segmentEntries, and always the newest.
func (a *archive) pruneStates(dropped uint64) error {
	states, err := a.states()
	if err != nil {
		return err
	}
	kept := uint64(0)
	for i, idx := range states {
		newest := i == len(states)-1
		if newest || (idx >= dropped && (kept == 0 || idx-kept >= segmentEntries)) {
			kept = idx
			continue
		}
		if err := os.Remove(a.statePath(idx)); err != nil {
			return fmt.Errorf("archive: %w", err)
		}
	}
	return nil
}
