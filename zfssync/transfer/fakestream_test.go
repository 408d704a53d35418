package transfer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/rexcarcer/rexcarcer/zfssync"
)

// Send writes "FROM\n" and the content; a resumed stream is the rest of that, "+N\n" before it.
func (m *memStore) Send(_ context.Context, o zfssync.Object, opt zfssync.SendOptions, w io.Writer) error {
	m.mu.Lock()
	i := slices.IndexFunc(m.snaps[o], func(s memSnap) bool { return s.Name == opt.Snapshot })
	if i < 0 {
		m.mu.Unlock()
		return fmt.Errorf("%s@%s: %w", o, opt.Snapshot, zfssync.ErrNotFound)
	}
	s := m.snaps[o][i]
	m.mu.Unlock()
	r := io.MultiReader(strings.NewReader(opt.From+"\n"), s.blob.reader())
	if opt.Resume != "" {
		var n int64
		var guid string
		if _, err := fmt.Sscanf(opt.Resume, "%d %s", &n, &guid); err != nil || guid != s.GUID {
			return errors.New("cannot resume send: no such snapshot")
		}
		if _, err := io.CopyN(io.Discard, io.MultiReader(strings.NewReader("\n"), s.blob.reader()), n); err != nil {
			return err
		}
		r = io.MultiReader(strings.NewReader("\n"), s.blob.reader())
		_, _ = io.CopyN(io.Discard, r, n)
		r = io.MultiReader(strings.NewReader(fmt.Sprintf("+%d\n", n)), r)
	}
	n, err := io.Copy(struct{ io.Writer }{w}, struct{ io.Reader }{r})
	m.mu.Lock()
	m.sent += n
	m.mu.Unlock()
	return err
}

func (m *memStore) step(name string) error {
	if m.fail == nil {
		return nil
	}
	return m.fail(name)
}

func (m *memStore) Receive(ctx context.Context, o zfssync.Object, opt zfssync.ReceiveOptions, r io.Reader) error {
	list, _ := m.Snapshots(ctx, o)
	if has(list, opt.GUID) {
		return nil
	}
	if err := m.step("begin"); err != nil {
		return err
	}
	var keep bytes.Buffer
	h := sha256.New()
	n, err := io.Copy(h, io.TeeReader(r, &capped{&keep}))
	if err == nil {
		err = m.step("read")
	}
	if err != nil {
		if opt.Resumable && n > 2*FrameSize {
			m.keepPartial(o, keep.Bytes())
		}
		return err
	}
	all := keep.Bytes()
	m.mu.Lock()
	defer m.mu.Unlock()
	head, data, _ := bytes.Cut(all, []byte("\n"))
	if rest, ok := strings.CutPrefix(string(head), "+"); ok {
		k, _ := strconv.Atoi(rest)
		data = append(bytes.Clone(m.partial[o][:k]), data...)
		head, data, _ = bytes.Cut(data, []byte("\n"))
	}
	delete(m.partial, o)
	if string(head) != opt.From {
		return fmt.Errorf("the stream is from %q, want %q", head, opt.From)
	}
	b := blob{data: data}
	if n > capBytes {
		b = blob{sum: hex.EncodeToString(h.Sum(nil)), size: n}
	}
	m.snaps[o] = append(m.snaps[o], memSnap{zfssync.Snapshot{
		Object: o, Name: opt.Snapshot, GUID: opt.GUID, Origin: originOf(opt), Layer: opt.Layer, Format: opt.Format, Bytes: n, Image: opt.Image, Base: opt.Base,
	}, b})
	m.received = append(m.received, fmt.Sprintf("%s@%s from %q", o, opt.Snapshot, opt.From))
	return nil
}

func originOf(opt zfssync.ReceiveOptions) string {
	if opt.Layer != "" {
		return opt.From
	}
	return ""
}

func (m *memStore) keepPartial(o zfssync.Object, b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if rest, ok := bytes.CutPrefix(b, []byte("+")); ok {
		head, data, _ := bytes.Cut(rest, []byte("\n"))
		k, _ := strconv.Atoi(string(head))
		b = append(bytes.Clone(m.partial[o][:k]), data...)
	}
	m.partial[o] = bytes.Clone(b)
}

func (m *memStore) ResumeToken(_ context.Context, o zfssync.Object, guid string) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.partial[o]) == 0 {
		return "", nil
	}
	return fmt.Sprintf("%d %s", len(m.partial[o]), guid), nil
}

func (m *memStore) AbortReceive(_ context.Context, o zfssync.Object) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.partial, o)
	return nil
}

// capped keeps no more than capBytes.
type capped struct{ b *bytes.Buffer }

const capBytes = 32 << 20

func (c *capped) Write(p []byte) (int, error) {
	if c.b.Len() <= capBytes {
		c.b.Write(p)
	}
	return len(p), nil
}
