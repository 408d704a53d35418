package hostagent

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sort"
	"time"
)

// Lines of jails have no time: whatever a jail prints is its own. So beside
// each log a file of marks says how long the log was when: pairs of 8 bytes,
// milliseconds since 1970 and an offset, big-endian, in order.
const (
	markBytes = 16
	markEvery = 5 * time.Second
	maxMarks  = 64 << 10 // in one file; then every other one goes
)

func marksOf(path string) string { return path + ".at" }

// mark is one of them.
type mark struct {
	at     int64 // milliseconds since 1970
	offset int64
}

// readMarks reads all; a part of a mark that a killed daemon left is no mark.
func readMarks(path string) ([]mark, error) {
	b, err := os.ReadFile(marksOf(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := make([]mark, len(b)/markBytes)
	for i := range out {
		p := b[i*markBytes:]
		out[i] = mark{int64(binary.BigEndian.Uint64(p)), int64(binary.BigEndian.Uint64(p[8:]))} //nolint:gosec // written below
	}
	return out, nil
}

// markedSince is the offset in the log at path before which nothing is later
// than since. whole says that it is the begin, and older parts may matter.
func markedSince(path string, since time.Time) (offset int64, whole bool, err error) {
	if since.IsZero() {
		return 0, true, nil
	}
	marks, err := readMarks(path)
	if err != nil {
		return 0, false, fmt.Errorf("when lines were written: %w", err)
	}
	ms := since.UnixMilli()
	i := sort.Search(len(marks), func(i int) bool { return marks[i].at > ms })
	if i == 0 {
		return 0, true, nil
	}
	return marks[i-1].offset, false, nil
}

// marker remembers the last mark of each log.
type marker map[string]mark

// put marks how long the log at path is now, if that says more than the last mark.
func (m marker) put(path string, size int64, now time.Time) error {
	at := mark{now.UnixMilli(), size}
	last, known := m[path]
	if !known {
		marks, err := readMarks(path)
		if err != nil {
			return fmt.Errorf("mark the log %s: %w", path, err)
		}
		if len(marks) > 0 {
			last, known = marks[len(marks)-1], true
			m[path] = last
		}
	}
	if known && (size == last.offset || at.at-last.at < markEvery.Milliseconds()) {
		return nil
	}
	if size < last.offset {
		return nil // cut by somebody else: the marks go with the next cut of ours
	}
	if err := appendMark(path, at); err != nil {
		return fmt.Errorf("mark the log %s: %w", path, err)
	}
	m[path] = at
	return nil
}

func appendMark(path string, at mark) error {
	name := marksOf(path)
	if info, err := os.Stat(name); err == nil && (info.Size() >= maxMarks*markBytes || info.Size()%markBytes != 0) {
		if err := thinMarks(path); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	_, err = f.Write(at.append(nil))
	return errors.Join(err, f.Close())
}

func (m mark) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(m.at))        //nolint:gosec // after 1970
	return binary.BigEndian.AppendUint64(b, uint64(m.offset)) //nolint:gosec // a size
}

// thinMarks drops every other mark of a file that is full, and half marks.
func thinMarks(path string) error {
	marks, err := readMarks(path)
	if err != nil {
		return err
	}
	var b []byte
	for i, m := range marks {
		if len(marks) < maxMarks || i%2 == 0 {
			b = m.append(b)
		}
	}
	return os.WriteFile(marksOf(path), b, 0o640) //nolint:gosec // as the log
}
