package api

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// A saved State is a file:
//
//	line of text | SnapshotInfo as a line of JSON | frame... | 0 | SHA-256 of all before it
//	frame = uvarint length | bytes
//
// The frames together are what fsm.Write makes, which has a checksum of its own.
const (
	snapshotMagic = "rexcarcer snapshot 1\n"
	snapshotMedia = "application/vnd.rexcarcer.snapshot"
	snapshotFrame = 64 << 10
	maxSnapshot   = 256 << 20 // bytes of a file
	maxInfo       = 64 << 10
)

// SnapshotInfo says what is in a saved State.
type SnapshotInfo struct {
	Cluster  string    `json:"cluster"`
	Domain   string    `json:"domain"`
	Index    uint64    `json:"index"`   // of the log
	Chain    string    `json:"chain"`   // hash of the history up to there, hex
	Hash     string    `json:"hash"`    // of the whole State, hex
	Content  string    `json:"content"` // of what it declares: the same after a restore
	Jails    int       `json:"jails"`
	Networks int       `json:"networks"`
	Hosts    int       `json:"hosts"`
	SavedAt  time.Time `json:"saved_at"`
	SavedBy  string    `json:"saved_by"` // host
	Version  string    `json:"version"`  // of its program
}

// InfoOf describes s.
func InfoOf(s *fsm.State) SnapshotInfo {
	whole, content := s.Hash(), s.ContentHash()
	return SnapshotInfo{
		Cluster: s.Cluster.ID, Domain: s.Cluster.Domain, Index: s.Index, Chain: hex.EncodeToString(s.Chain[:]), Hash: hex.EncodeToString(whole[:]),
		Content: hex.EncodeToString(content[:]), Jails: s.Jails.Len(), Networks: s.Networks.Len(), Hosts: s.Hosts.Len(),
	}
}

// WriteSnapshot writes the file of s, as it goes.
func WriteSnapshot(w io.Writer, s *fsm.State, info SnapshotInfo) error {
	sum := sha256.New()
	out := bufio.NewWriterSize(io.MultiWriter(w, sum), snapshotFrame+16)
	head, err := json.Marshal(info)
	if err != nil {
		return fmt.Errorf("save the State: %w", err)
	}
	_, _ = out.WriteString(snapshotMagic) // bufio keeps the first error
	_, _ = out.Write(append(head, '\n'))
	frames := &frames{out: out}
	if err := fsm.Write(frames, s); err != nil {
		return fmt.Errorf("save the State: %w", err)
	}
	if err := frames.flush(); err != nil {
		return fmt.Errorf("save the State: %w", err)
	}
	_ = out.WriteByte(0)
	if err := out.Flush(); err != nil {
		return fmt.Errorf("save the State: %w", err)
	}
	if _, err := w.Write(sum.Sum(nil)); err != nil {
		return fmt.Errorf("save the State: %w", err)
	}
	return nil
}

// frames cuts what is written into frames.
type frames struct {
	out *bufio.Writer
	buf []byte
}

// Write implements io.Writer.
func (f *frames) Write(b []byte) (int, error) {
	f.buf = append(f.buf, b...)
	if len(f.buf) < snapshotFrame {
		return len(b), nil
	}
	return len(b), f.flush()
}

func (f *frames) flush() error {
	if len(f.buf) == 0 {
		return nil
	}
	_, _ = f.out.Write(binary.AppendUvarint(nil, uint64(len(f.buf))))
	_, err := f.out.Write(f.buf)
	f.buf = f.buf[:0]
	return err
}

// ReadSnapshot checks a file, copies what is in it to payload as it comes, and
// says what it is. Nothing of payload may be used if there is an error.
func ReadSnapshot(r io.Reader, payload io.Writer) (SnapshotInfo, error) {
	info, err := readSnapshot(bufio.NewReader(io.LimitReader(r, maxSnapshot+1)), payload)
	if err != nil {
		return SnapshotInfo{}, fmt.Errorf("read a saved State: %w", err)
	}
	return info, nil
}

func readSnapshot(r *bufio.Reader, payload io.Writer) (info SnapshotInfo, err error) {
	in := summed{r, sha256.New()}
	head := make([]byte, len(snapshotMagic))
	if _, err := io.ReadFull(in, head); err != nil || string(head) != snapshotMagic {
		return info, errors.New("it is none, or of a later version")
	}
	var line []byte
	for len(line) == 0 || line[len(line)-1] != '\n' {
		c, err := in.ReadByte()
		if err != nil || len(line) > maxInfo {
			return info, errors.New("it ends in its first lines")
		}
		line = append(line, c)
	}
	if err := json.Unmarshal(line, &info); err != nil {
		return info, fmt.Errorf("its second line: %w", err)
	}
	for {
		n, err := binary.ReadUvarint(in)
		if err != nil || n > 2*maxSnapshot {
			return info, errCut
		}
		if n == 0 {
			break
		}
		if got, err := io.CopyN(payload, in, int64(n)); err != nil && got < int64(n) {
			return info, errors.Join(errCut, ignoreEOF(err))
		}
	}
	want, got := in.sum.Sum(nil), make([]byte, sha256.Size)
	if _, err := io.ReadFull(r, got); err != nil {
		return info, errCut
	}
	if string(got) != string(want) {
		return info, errors.New("its checksum does not fit: it was changed or damaged")
	}
	if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
		return info, errors.New("there is more behind its end")
	}
	return info, nil
}

var errCut = errors.New("it is cut or damaged")

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// summed adds all that is read to a hash.
type summed struct {
	r   *bufio.Reader
	sum hash.Hash
}

// Read implements io.Reader.
func (s summed) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	s.sum.Write(b[:n])
	return n, err
}

// ReadByte implements io.ByteReader.
func (s summed) ReadByte() (byte, error) {
	c, err := s.r.ReadByte()
	if err == nil {
		s.sum.Write([]byte{c})
	}
	return c, err
}
