package fsm

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/netip"
	"slices"

	"github.com/klauspost/compress/zstd"

	"github.com/rexcarcer/rexcarcer/spec"
)

// Read builds the State of a snapshot. Anything that is not whole, from the
// magic to the checksum, is an error; there is never half a State.
func Read(r io.Reader) (*State, error) {
	head := make([]byte, len(magic))
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, fmt.Errorf("read snapshot: its first line: %w", err)
	}
	if string(head) != magic {
		return nil, fmt.Errorf("read snapshot: it begins with %q, not with %q: it is none, or of a later version", head, magic)
	}
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(64<<20))
	if err != nil {
		return nil, fmt.Errorf("read snapshot: %w", err)
	}
	defer z.Close()
	in := &frameReader{r: bufio.NewReaderSize(z, 1<<16), sum: sha256.New()}
	t := begin(&State{})
	t.sharing = newSharing()
	if err := in.all(t); err != nil {
		return nil, fmt.Errorf("read snapshot: %w", err)
	}
	t.rebuildPools()
	return t.commit(), nil
}

type frameReader struct {
	r   *bufio.Reader
	sum hash.Hash
	n   int    // frames
	buf []byte // the frame at hand, as it came
}

func (f *frameReader) all(t *txn) error {
	for {
		number, err := f.r.ReadByte()
		if err != nil {
			return fmt.Errorf("frame %d: %w", f.n, noEOF(err))
		}
		if number == secEnd {
			return f.end()
		}
		f.buf = append(f.buf[:0], number)
		keyAt, keyEnd, err := f.part(maxKey)
		if err != nil {
			return fmt.Errorf("frame %d: key: %w", f.n, err)
		}
		textAt, textEnd, err := f.part(maxValue)
		if err != nil {
			return fmt.Errorf("frame %d: value: %w", f.n, err)
		}
		f.sum.Write(f.buf)
		if (number == secHeader) != (f.n == 0) {
			return fmt.Errorf("frame %d: section %d: the header must be the first frame, and only that", f.n, number)
		}
		key := string(f.buf[keyAt:keyEnd])
		if err := t.load1(number, key, f.buf[textAt:textEnd]); err != nil {
			return fmt.Errorf("frame %d: section %d, key %q: %w", f.n, number, key, err)
		}
		f.n++
	}
}

// part reads a length and as many bytes into buf, and says where they are.
// The buffer grows with what really comes, not with what a broken length
// claims.
func (f *frameReader) part(most uint64) (from, to int, err error) {
	n, err := binary.ReadUvarint(f.r)
	if err != nil {
		return 0, 0, noEOF(err)
	}
	if n > most {
		return 0, 0, fmt.Errorf("%d bytes, %d are the most", n, most)
	}
	f.buf = binary.AppendUvarint(f.buf, n)
	from = len(f.buf)
	for left := int(n); left > 0; {
		step := min(left, 1<<20)
		f.buf = slices.Grow(f.buf, step)
		got, err := io.ReadFull(f.r, f.buf[len(f.buf):len(f.buf)+step])
		f.buf = f.buf[:len(f.buf)+got]
		if err != nil {
			return 0, 0, noEOF(err)
		}
		left -= step
	}
	return from, len(f.buf), nil
}

func (f *frameReader) end() error {
	if f.n == 0 {
		return errors.New("it is empty")
	}
	var want [sha256.Size]byte
	if _, err := io.ReadFull(f.r, want[:]); err != nil {
		return fmt.Errorf("checksum: %w", noEOF(err))
	}
	if !bytes.Equal(want[:], f.sum.Sum(nil)) {
		return errors.New("the checksum does not match: it was altered or damaged")
	}
	if _, err := f.r.ReadByte(); !errors.Is(err, io.EOF) { // also reads zstd's own checksum
		return errors.Join(errors.New("bytes follow the end"), err)
	}
	return nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// load1 puts one frame where it belongs, and what follows from it beside it.
func (t *txn) load1(number byte, key string, text []byte) error {
	switch number {
	case secHeader:
		return t.loadHeader(text)
	case secWishes:
		return loadWith(text, func(w *spec.Wish) {
			t.sharing.wish(w)
			t.wishes.put(key, w)
		})
	case secNetworks:
		return loadInto(&t.networks, key, text)
	case secImages:
		return loadInto(&t.images, key, text)
	case secBuilds:
		return loadInto(&t.builds, key, text)
	case secJails:
		return loadWith(text, func(j *Jail) {
			t.sharing.jail(j)
			t.jails.put(key, j)
			t.joinGroup(j)
		})
	case secRuns:
		return loadWith(text, func(r *Run) {
			t.sharing.run(r)
			t.setRun(r)
		})
	case secLeases:
		return loadWith(text, func(l *Lease) {
			t.sharing.lease(l)
			t.leases.put(key, l)
		})
	case secGuests:
		return loadWith(text, func(g *Guest) {
			t.sharing.guest(g)
			t.guests.put(key, g)
			if g.Client != "" {
				t.clients.put(clientKey(g.Network, g.Client), g)
			}
		})
	case secRecords:
		return loadWith(text, func(r *Record) {
			t.sharing.record(r)
			t.records.put(key, r)
		})
	case secCerts:
		return loadWith(text, func(c *Cert) {
			t.sharing.cert(c)
			t.certs.put(key, c)
		})
	case secHosts:
		return loadInto(&t.hosts, key, text)
	case secTokens:
		return loadInto(&t.tokens, key, text)
	case secDenied:
		return loadInto(&t.denied, key, text)
	case secRevoked:
		return loadInto(&t.revoked, key, text)
	case secParts:
		return loadInto(&t.parts, key, text)
	case secYoung:
		return loadWith(text, func(r *idResult) { t.young.put(key, *r) })
	case secOld:
		return loadWith(text, func(r *idResult) { t.old.put(key, *r) })
	case secLasts:
		return loadWith(text, func(s *[]byte) { t.lasts.put(key, string(*s)) })
	case secSigners:
		return loadInto(&t.signers, key, text)
	case secBases:
		return loadInto(&t.bases, key, text)
	case secMoves:
		return loadInto(&t.moves, key, text)
	case secVolumes:
		return loadInto(&t.volumes, key, text)
	}
	return errors.New("unknown section: written by a later version")
}

func loadInto[V any](to *table[*V], key string, text []byte) error {
	return loadWith(text, func(v *V) { to.put(key, v) })
}

func loadWith[V any](text []byte, put func(*V)) error {
	var v *V
	if err := json.Unmarshal(text, &v); err != nil {
		return err
	}
	if v == nil {
		return errors.New("null is no value")
	}
	put(v)
	return nil
}

func (t *txn) loadHeader(text []byte) error {
	return loadWith(text, func(h *header) {
		t.s.Index, t.s.Now, t.s.PlanIndex, t.s.RecordsIndex = h.Index, h.Now, h.PlanIndex, h.RecordsIndex
		t.s.lostSeq, t.s.Cluster = h.LostSeq, h.Cluster
		copy(t.s.Chain[:], h.Chain)
	})
}

// rebuildPools finds again what follows from Leases: who rests, how many are
// taken, and from where on an address was never granted.
func (t *txn) rebuildPools() {
	t.leases.each("", func(key string, l *Lease) bool {
		if l.Jail == "" {
			t.resting.put(restKey(l), key)
			return true
		}
		k := poolKey(l.Network, l.Addr)
		p, _ := t.pools.get(k)
		p.live++
		t.pools.put(k, p)
		return true
	})
	t.networks.each("", func(name string, n *Network) bool {
		t.rebuildPool(name, n.HostAddr)
		if n.Subnet6.IsValid() {
			t.rebuildPool(name, n.Gateway6.Next())
		}
		return true
	})
}

func (t *txn) rebuildPool(name string, reserved netip.Addr) {
	k := poolKey(name, reserved)
	p, _ := t.pools.get(k)
	p.next = t.nextUnused(name, reserved.Next())
	t.pools.put(k, p)
}
