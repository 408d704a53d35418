package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
)

// DamageError is a file of the log that is not what was written.
type DamageError struct{ Path, Why string }

// Error implements error.
func (e *DamageError) Error() string { return e.Path + " is damaged: " + e.Why }

// load opens the segments below dir in order and reads them.
func (l *Log) load() error {
	// A crash while it was made left it.
	if err := os.Remove(filepath.Join(l.dir, halfMade)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove a segment that was never finished: %w", err)
	}
	paths, err := filepath.Glob(filepath.Join(l.dir, "log-*"))
	if err != nil {
		return err
	}
	slices.Sort(paths)
	for i, path := range paths {
		var number uint64
		if _, err := fmt.Sscanf(filepath.Base(path), namePattern, &number); err != nil {
			return fmt.Errorf("%s is not a segment's name: move it away", path)
		}
		if i > 0 && number != l.segments[i-1].number+1 {
			return &DamageError{path, fmt.Sprintf("segment %d before it is missing", number-1)}
		}
		s, err := open(path, number)
		if err != nil {
			return err
		}
		l.segments = append(l.segments, s)
	}
	return l.readAll()
}

// readAll folds the records of all segments. The newest that was written to is
// where writing goes on.
func (l *Log) readAll() error {
	newest := 0
	var torn int64
	for i, s := range l.segments {
		b, err := os.ReadFile(s.path)
		if err != nil {
			return fmt.Errorf("read the log: %w", err)
		}
		if isZero(b[segmentHead:]) {
			continue
		}
		if torn > 0 {
			before := l.segments[newest]
			return &DamageError{before.path, fmt.Sprintf("what is at byte %d is no record, and the log goes on behind it", before.end)}
		}
		newest = i
		if torn, err = l.readSegment(s, b); err != nil {
			return err
		}
	}
	if len(l.segments) == 0 {
		return nil
	}
	for i := len(l.segments) - 1; i > newest; i-- { // made ready, never used
		s := l.segments[i]
		l.segments = l.segments[:i]
		if i == newest+1 {
			l.spare = s
		} else if err := s.remove(); err != nil {
			return err
		}
	}
	if torn > 0 { // nobody was told that it is there
		return l.segments[newest].zero(torn)
	}
	return nil
}

// readSegment folds the records of b, all of the file. torn is how many bytes
// behind the last record are not zero, and are what a crash left of a batch.
func (l *Log) readSegment(s *segment, b []byte) (torn int64, err error) {
	for int(s.end) < len(b) {
		r, ok := parse(b[s.end:], s.seed)
		if !ok {
			break
		}
		if err := l.fold(s, r); err != nil {
			return 0, err
		}
		s.end += int64(r.size)
	}
	if isZero(b[s.end:]) {
		return 0, nil
	}
	for at := int(s.end) + 8; at < len(b); at += 8 {
		if r, ok := parse(b[at:], s.seed); ok && int64(at)-int64(r.back) > s.end {
			return 0, &DamageError{s.path, fmt.Sprintf("what is at byte %d is no record, and a later batch follows", s.end)}
		}
	}
	return int64(len(b)) - s.end, nil
}

// fold does again what a record says.
func (l *Log) fold(s *segment, r record) error {
	switch r.kind {
	case kindCut:
		l.cut(r.index)
	case kindDrop:
		l.drop(r.index)
	case kindEntry:
		if _, last := l.held(); last != 0 && r.index != last+1 {
			return &DamageError{s.path, fmt.Sprintf("entry %d follows entry %d at byte %d", r.index, last, s.end)}
		}
		l.floor = min(l.floor, r.index-1)
		s.add(r.index, place{uint32(s.end), uint32(r.size)})
	}
	return nil
}

// open opens a segment that create made; its records are not read yet.
func open(path string, number uint64) (_ *segment, err error) {
	s := &segment{number: number, path: path, end: segmentHead}
	if s.file, err = os.OpenFile(path, os.O_RDWR, 0); err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.file.Close())
		}
	}()
	info, err := s.file.Stat()
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	var head [segmentHead]byte
	if _, err := s.file.ReadAt(head[:], 0); err != nil {
		return nil, &DamageError{path, fmt.Sprintf("it has %d bytes", info.Size())}
	}
	if string(head[:8]) != magic || crc32.Checksum(head[:28], castagnoli) != binary.BigEndian.Uint32(head[28:]) || binary.BigEndian.Uint64(head[8:]) != number {
		return nil, &DamageError{path, "its first bytes are not those of this segment"}
	}
	if s.size = int64(binary.BigEndian.Uint32(head[24:])); s.size != info.Size() {
		return nil, &DamageError{path, fmt.Sprintf("it has %d bytes, it was made with %d", info.Size(), s.size)}
	}
	s.seed = salted(binary.BigEndian.Uint64(head[16:]))
	return s, nil
}
