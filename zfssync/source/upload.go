package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/rexcarcer/rexcarcer/zfssync/bundle"
)

// uploadScheme begins the reference of what a user has sent: upload:NAME. The content is pinned by its digest, as
// everything from elsewhere; the bytes are kept until an image stands on them, or for a week.
const uploadScheme = "upload:"

// uploadTemp begins the directory of an upload that goes on.
const uploadTemp = "upload-"

// maxUploadFiles of one base: a bundle has three, and more signatures.
const maxUploadFiles = 3 + maxSignatures

// MaxUpload is the most that one upload may have, in bytes.
const MaxUpload = MaxPayload + 1<<20

// digestName is the file that holds the digest of an archive that nobody signed.
const digestName = "DIGEST"

var fingerprintRE = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Upload keeps what a user sends as upload:NAME: the files of a signed bundle, or one tar archive NAME.tar[.zst|...].
// next hands out one file after the other until io.EOF. What was there under the name is replaced when all has come.
func (s *Sources) Upload(ctx context.Context, name string, next func() (file string, content io.Reader, err error)) (err error) {
	if err := bundle.ValidName(name); err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	if err := s.dirs(); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(s.dir("partial"), uploadTemp)
	if err != nil {
		return fmt.Errorf("upload %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	var got []string
	for {
		file, content, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			got, err = append(got, file), s.uploaded(ctx, tmp, name, file, len(got), content)
		}
		if err != nil {
			return fmt.Errorf("upload %s: %w", name, err)
		}
	}
	if err := s.complete(ctx, tmp, name, got); err != nil {
		return fmt.Errorf("upload %s: %w", name, err)
	}
	unlock, err := s.lock(ctx, uploadScheme+name)
	if err != nil {
		return err
	}
	defer unlock()
	to := s.uploadDir(name)
	if err := errors.Join(os.RemoveAll(to), os.Rename(tmp, to)); err != nil {
		return fmt.Errorf("upload %s: %w", name, err)
	}
	return nil
}

func (s *Sources) uploadDir(name string) string {
	return filepath.Join(s.dir("partial"), "uploaded-"+name)
}

// uploaded writes one file.
func (s *Sources) uploaded(ctx context.Context, dir, name, file string, before int, content io.Reader) (err error) {
	var limit int64
	mark, isSig := strings.CutPrefix(file, name+bundle.SigSuffix)
	end, _ := strings.CutPrefix(file, name)
	switch {
	case before >= maxUploadFiles:
		return fmt.Errorf("more than %d files", maxUploadFiles)
	case file == name+bundle.MetaSuffix:
		limit = bundle.MaxMeta
	case file == name+bundle.HashSuffix:
		limit = bundle.MaxHash
	case isSig && fingerprintRE.MatchString(mark):
		limit = bundle.MaxSig
	case strings.HasPrefix(file, name) && slices.Contains(bundle.Payloads, end):
		limit = MaxPayload
	default:
		return fmt.Errorf("the file %.100q is none of a base that is called so", file)
	}
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	n, err := io.Copy(f, withContext(ctx, io.LimitReader(content, limit+1)))
	if err == nil && n > limit {
		err = fmt.Errorf("%s has more than %d bytes", file, limit)
	}
	return err
}

// complete says what is missing, and notes the digest of an archive that nobody signed.
func (s *Sources) complete(ctx context.Context, dir, name string, got []string) error {
	if slices.Contains(got, name+bundle.MetaSuffix) {
		return nil // whether it is a good bundle is found out when it is looked at
	}
	if len(got) != 1 || bundle.Format(got[0]) != "tar" {
		return fmt.Errorf("it has %d files and no %s%s: want those of a signed bundle, or one tar archive", len(got), name, bundle.MetaSuffix)
	}
	digest, err := digestFile(ctx, filepath.Join(dir, got[0]))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, digestName), []byte(digest), 0o600)
}

// DropUpload forgets what ref means, if that was uploaded.
func (s *Sources) DropUpload(ref string) error {
	name, ok := strings.CutPrefix(ref, uploadScheme)
	if !ok {
		return nil
	}
	if err := bundle.ValidName(name); err != nil {
		return err
	}
	return os.RemoveAll(s.uploadDir(name))
}

// upload is the place of upload:NAME.
func (s *Sources) upload(name string) place {
	if err := bundle.ValidName(name); err != nil {
		return failed{err}
	}
	dir := s.uploadDir(name)
	_, err := os.Stat(filepath.Join(dir, digestName))
	switch {
	case err == nil:
		return &archivePlace{s: s, name: name, dir: dir}
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(filepath.Join(dir, name+bundle.MetaSuffix)); err == nil {
			return &bundlePlace{s: s, name: name, files: dirFiles{dir}}
		}
		err = errors.New("what was uploaded is not on this host any more: send it again: rexctl base import")
	}
	return failed{fmt.Errorf("base %s%s: %w", uploadScheme, name, err)}
}

// archivePlace is a tar archive that a user has sent and nobody signed.
type archivePlace struct {
	s         *Sources
	name, dir string
}

func (a *archivePlace) look(context.Context) (Origin, error) {
	digest, err := os.ReadFile(filepath.Join(a.dir, digestName))
	if err != nil {
		return Origin{}, err
	}
	_, size, err := a.file()
	o := Origin{Kind: "upload", Digest: string(digest), Platform: a.s.c.Platform, Bytes: size}
	return o, err
}

func (a *archivePlace) file() (name string, size int64, err error) {
	for _, end := range bundle.Payloads {
		if info, err := os.Stat(filepath.Join(a.dir, a.name+end)); err == nil {
			return a.name + end, info.Size(), nil
		}
	}
	return "", 0, fmt.Errorf("base %s%s: its archive is gone: send it again", uploadScheme, a.name)
}

func (a *archivePlace) fetch(ctx context.Context, o Origin, progress Progress) (Fetched, error) {
	file, size, err := a.file()
	if err != nil {
		return Fetched{}, err
	}
	part := a.s.partial(o.Digest)
	if err := a.s.whole(ctx, dirFiles{a.dir}, file, size, o.Digest, part, progress); err != nil {
		return Fetched{}, err
	}
	return a.s.accept(ctx, a.name, part, o.Digest, file, progress)
}
