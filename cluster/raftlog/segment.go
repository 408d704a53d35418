package raftlog

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
)

// A segment's file begins with magic, its number u64, salt u64, size of the file
// u32, and the CRC-32C of all that, u32.
const (
	magic       = "rexlog1\n"
	segmentHead = 32
	segmentSize = 4 << 20 // bytes; more where one batch needs it
	halfMade    = "log.new"
	namePattern = "log-%016d"
)

// segment is one file and where the entries in it are.
type segment struct {
	number uint64
	path   string
	file   *os.File
	size   int64
	seed   uint32 // of its records' checksums

	end   int64   // where the next batch goes
	first uint64  // index of places[0]
	place []place // of its entries that are still wanted, in order of index
}

type place struct{ at, size uint32 }

func (s *segment) last() uint64 { return s.first + uint64(len(s.place)) - 1 }

// cut forgets the entries from index on.
func (s *segment) cut(index uint64) {
	if len(s.place) > 0 && index <= s.last() {
		s.place = s.place[:max(index, s.first)-s.first]
	}
}

// drop forgets the entries up to index.
func (s *segment) drop(index uint64) {
	if len(s.place) > 0 && index >= s.first {
		n := min(index, s.last()) - s.first + 1
		s.first, s.place = s.first+n, s.place[n:]
	}
}

// add notes an entry; the caller has seen that it follows the last.
func (s *segment) add(index uint64, p place) {
	if len(s.place) == 0 {
		s.first = index
	}
	s.place = append(s.place, p)
}

// read reads the record of an entry that place has.
func (s *segment) read(index uint64) (record, error) {
	p := s.place[index-s.first]
	b := make([]byte, p.size)
	if _, err := s.file.ReadAt(b, int64(p.at)); err != nil {
		return record{}, fmt.Errorf("read entry %d: %w", index, err)
	}
	r, ok := parse(b, s.seed)
	if !ok || r.kind != kindEntry || r.index != index {
		return record{}, &DamageError{Path: s.path, Why: fmt.Sprintf("entry %d at byte %d is not what was written", index, p.at)}
	}
	return r, nil
}

// zero clears n bytes at the end, and makes that durable.
func (s *segment) zero(n int64) error {
	for at := s.end; at < s.end+n; at += int64(len(zeros)) {
		if _, err := s.file.WriteAt(zeros[:min(int64(len(zeros)), s.end+n-at)], at); err != nil {
			return fmt.Errorf("clear the end of %s: %w", s.path, err)
		}
	}
	if err := s.file.Sync(); err != nil {
		return fmt.Errorf("clear the end of %s: %w", s.path, err)
	}
	return nil
}

var zeros [256 << 10]byte

func isZero(b []byte) bool {
	for len(b) > len(zeros) {
		if !bytes.Equal(b[:len(zeros)], zeros[:]) {
			return false
		}
		b = b[len(zeros):]
	}
	return bytes.Equal(b, zeros[:len(b)])
}

// create makes a segment of size bytes. It has its name only when it is whole
// on disk.
func create(dir string, number uint64, size int64) (_ *segment, err error) {
	s := &segment{number: number, path: filepath.Join(dir, fmt.Sprintf(namePattern, number)), end: segmentHead, size: size}
	if s.size > 1<<32-1 {
		return nil, fmt.Errorf("make %s: %d bytes are too many", s.path, size)
	}
	var salt [8]byte
	_, _ = rand.Read(salt[:]) // it never fails
	s.seed = salted(binary.BigEndian.Uint64(salt[:]))
	head := binary.BigEndian.AppendUint64([]byte(magic), number)
	head = append(head, salt[:]...)
	head = binary.BigEndian.AppendUint32(head, uint32(s.size))
	head = binary.BigEndian.AppendUint32(head, crc32.Checksum(head, castagnoli))

	half := filepath.Join(dir, halfMade)
	if s.file, err = os.OpenFile(half, os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600); err != nil {
		return nil, fmt.Errorf("make %s: %w", s.path, err)
	}
	_, err = s.file.Write(head)
	for at := int64(segmentHead); err == nil && at < s.size; at += int64(len(zeros)) {
		_, err = s.file.Write(zeros[:min(int64(len(zeros)), s.size-at)])
	}
	if err == nil {
		err = s.file.Sync()
	}
	if err == nil {
		err = os.Rename(half, s.path)
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make %s: %w", s.path, err), s.file.Close())
	}
	return s, nil
}

// remove closes and removes the file.
func (s *segment) remove() error {
	if err := errors.Join(s.file.Close(), os.Remove(s.path)); err != nil {
		return fmt.Errorf("remove %s: %w", s.path, err)
	}
	return nil
}

// syncDir makes names durable; see fsync(2).
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
