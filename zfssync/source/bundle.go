package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/rexcarcer/rexcarcer/zfssync/bundle"
)

// files are where the files of a bundle lie.
type files interface {
	// small reads a whole file of at most limit bytes; fs.ErrNotExist when there is none.
	small(ctx context.Context, name string, limit int64) ([]byte, error)
	// signatures reads those of NAME that could count.
	signatures(ctx context.Context, name string, trusted []bundle.Signer) (map[string][]byte, error)
	// payload makes the file at to hold size bytes of the file name; what it holds already is kept. size below 0 is unknown.
	payload(ctx context.Context, name string, size int64, to string, progress Progress) error
	// where names a file for people.
	where(name string) string
}

// failed is a place that cannot be.
type failed struct{ err error }

func (f failed) look(context.Context) (Origin, error) { return Origin{}, f.err }

func (f failed) fetch(context.Context, Origin, Progress) (Fetched, error) { return Fetched{}, f.err }

// bundlePlace is a signed bundle, wherever its files are.
type bundlePlace struct {
	s     *Sources
	name  string
	files files
	meta  bundle.Meta // set by look
}

func (b *bundlePlace) look(ctx context.Context) (Origin, error) {
	if err := bundle.ValidName(b.name); err != nil {
		return Origin{}, fmt.Errorf("base %s: %w", b.files.where(b.name), err)
	}
	papers, err := b.papers(ctx)
	if err != nil {
		return Origin{}, err
	}
	v, err := papers.Verify(b.s.c.Trusted(), b.s.c.Now())
	if err != nil {
		return Origin{}, err
	}
	m := v.Meta
	switch {
	case m.Platform != b.s.c.Platform:
		return Origin{}, fmt.Errorf("base %s: it is for %s, and this host is %s: use one that is made for it", b.files.where(b.name), m.Platform, b.s.c.Platform)
	case m.Size > MaxPayload:
		return Origin{}, &bundle.Refusal{Name: b.name, Reason: bundle.Bomb, Text: fmt.Sprintf("its payload has %d bytes, %d are the most", m.Size, int64(MaxPayload))}
	}
	b.meta = m
	return Origin{
		Kind: "bundle", Digest: m.Digest, Version: m.Version, Created: m.Created, Platform: m.Platform,
		Signer: v.Signer.Fingerprint, SignedBy: v.Signer.Subject, Bytes: m.Size,
	}, nil
}

// papers reads the small files. The signed hash file comes first: what has none is not fetched further.
func (b *bundlePlace) papers(ctx context.Context) (bundle.Papers, error) {
	p := bundle.Papers{Name: b.name}
	var err error
	p.Hashes, err = b.files.small(ctx, b.name+bundle.HashSuffix, bundle.MaxHash)
	if errors.Is(err, fs.ErrNotExist) {
		if _, merr := b.files.small(ctx, b.name+bundle.MetaSuffix, bundle.MaxMeta); merr == nil {
			return p, &bundle.Refusal{Name: b.name, Reason: bundle.Unsigned, Text: fmt.Sprintf("there is no %s%s beside it: it was never signed", b.name, bundle.HashSuffix)}
		}
		return p, fmt.Errorf("no bundle there: %w", err)
	}
	if err != nil {
		return p, err
	}
	if p.Signatures, err = b.files.signatures(ctx, b.name, b.s.c.Trusted()); err != nil {
		return p, err
	}
	if len(p.Signatures) == 0 {
		return p, nil // Verify says what is missing
	}
	p.Meta, err = b.files.small(ctx, b.name+bundle.MetaSuffix, bundle.MaxMeta)
	if errors.Is(err, fs.ErrNotExist) {
		return p, &bundle.Refusal{Name: b.name, Reason: bundle.WrongHash, Text: b.name + bundle.MetaSuffix + " is missing"}
	}
	return p, err
}

func (b *bundlePlace) fetch(ctx context.Context, o Origin, progress Progress) (Fetched, error) {
	signedBy := fmt.Sprintf("version %d, signed by %s", b.meta.Version, o.SignedBy)
	progress(signedBy, 0, o.Bytes)
	part := b.s.partial(o.Digest)
	if err := b.s.whole(ctx, b.files, b.meta.Payload, o.Bytes, o.Digest, part, progress); err != nil {
		return Fetched{}, err
	}
	return b.s.accept(ctx, b.name, part, o.Digest, b.meta.Payload, progress)
}

// whole brings a file until it has the digest. What an earlier attempt left is used, and thrown away once if the digest
// does not fit: it may have been of another file, or the machine may have lost power.
func (s *Sources) whole(ctx context.Context, from files, name string, size int64, digest, part string, progress Progress) error {
	before, err := os.Stat(part)
	resumed := err == nil && before.Size() > 0
	if resumed && size >= 0 && before.Size() > size {
		if err := os.Remove(part); err != nil {
			return err
		}
		resumed = false
	}
	for {
		if err := from.payload(ctx, name, size, part, progress); err != nil {
			return err
		}
		got, err := digestFile(ctx, part)
		if err != nil {
			return err
		}
		if got == digest {
			return nil
		}
		if !resumed {
			return &bundle.Refusal{Name: name, Reason: bundle.WrongHash, Text: fmt.Sprintf("%s has the digest %s, and %s was promised", name, got, digest)}
		}
		resumed = false
		progress("what was there before does not fit: from the start", 0, size)
		if err := os.Remove(part); err != nil {
			return err
		}
	}
}

// accept walks through a file that has the right digest, and hands it on.
func (s *Sources) accept(ctx context.Context, name, part, digest, payload string, progress Progress) (Fetched, error) {
	format := bundle.Format(payload)
	if format == "tar" {
		f, err := os.Open(part)
		if err != nil {
			return Fetched{}, err
		}
		defer f.Close()
		c, err := bundle.Inspect(ctx, name, f, s.c.Limits)
		if err != nil {
			return Fetched{}, err
		}
		progress(fmt.Sprintf("verified: %d files", c.Entries), 0, 0)
	}
	end := payload[strings.IndexByte(payload, '.'):]
	for _, known := range bundle.Payloads {
		if strings.HasSuffix(payload, known) {
			end = known
			break
		}
	}
	to := s.ready(digest, end)
	if err := os.Rename(part, to); err != nil {
		return Fetched{}, err
	}
	return Fetched{Path: to, Format: format}, nil
}

// digestFile is the SHA-256 of a file, with its prefix.
func digestFile(ctx context.Context, name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, withContext(ctx, f)); err != nil {
		return "", fmt.Errorf("read %s: %w", name, err)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context //nolint:containedctx // it lives as long as one call
	r   io.Reader
}

func withContext(ctx context.Context, r io.Reader) io.Reader { return contextReader{ctx, r} }

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// dirFiles is a directory of this host.
type dirFiles struct{ dir string }

func (d dirFiles) where(name string) string { return filepath.Join(d.dir, name) }

func (d dirFiles) small(_ context.Context, name string, limit int64) ([]byte, error) {
	f, err := os.Open(d.where(name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readSmall(f, name, limit)
}

func readSmall(r io.Reader, name string, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(len(b)) > limit {
		return nil, &bundle.Refusal{Name: name, Reason: bundle.Malformed, Text: fmt.Sprintf("%s has more than %d bytes", name, limit)}
	}
	return b, nil
}

// maxSignatures bounds what a directory can make us read.
const maxSignatures = 64

func (d dirFiles) signatures(ctx context.Context, name string, _ []bundle.Signer) (map[string][]byte, error) {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	for _, e := range entries {
		mark, ok := strings.CutPrefix(e.Name(), name+bundle.SigSuffix)
		if !ok || len(out) == maxSignatures {
			continue
		}
		if out[mark], err = d.small(ctx, e.Name(), bundle.MaxSig); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// payload copies: the original may change while it is unpacked, the copy cannot.
func (d dirFiles) payload(ctx context.Context, name string, size int64, to string, progress Progress) (err error) {
	f, err := os.Open(d.where(name))
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file", d.where(name))
	}
	if err := sizeFits(name, info.Size(), size); err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, withContext(ctx, io.LimitReader(f, info.Size())))
	progress("", info.Size(), info.Size())
	return err
}

// sizeFits compares a payload's size with the one that was signed.
func sizeFits(name string, got, want int64) error {
	switch {
	case want >= 0 && got > want:
		return &bundle.Refusal{Name: name, Reason: bundle.TrailingData, Text: fmt.Sprintf("%s has %d bytes, and %d were signed: something follows the end", name, got, want)}
	case want >= 0 && got < want:
		return &bundle.Refusal{Name: name, Reason: bundle.WrongHash, Text: fmt.Sprintf("%s has %d bytes, and %d were signed: it is cut off", name, got, want)}
	}
	return nil
}
