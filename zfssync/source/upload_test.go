package source_test

import (
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rexcarcer/rexcarcer/zfssync/bundle"
	"github.com/rexcarcer/rexcarcer/zfssync/source"
)

// send uploads files in the order of their names and contents: name, content, name, content.
func send(t *testing.T, s *source.Sources, name string, files ...string) error {
	t.Helper()
	return s.Upload(t.Context(), name, func() (string, io.Reader, error) {
		if len(files) == 0 {
			return "", nil, io.EOF
		}
		file, content := files[0], files[1]
		files = files[2:]
		if content == "CUT" {
			return file, io.MultiReader(strings.NewReader("half"), broken{}), nil
		}
		return file, strings.NewReader(content), nil
	})
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("the user went away") }

func TestAnUploadedArchiveIsABasePinnedByItsContent(t *testing.T) {
	t.Parallel()
	s, dir := newSources(t, source.Config{})
	one, two := string(tarOf(t, member{name: "one", text: "1"})), string(tarOf(t, member{name: "two", text: "2"}))
	if err := send(t, s, "app", "app.tar", one); err != nil {
		t.Fatal(err)
	}
	o, err := s.Look(t.Context(), "upload:app")
	if err != nil || o.Kind != "upload" || o.Bytes != int64(len(one)) {
		t.Fatalf("%+v, %v", o, err)
	}
	for range 2 { // a build that fails may be made again
		f, err := s.Fetch(t.Context(), "upload:app", o.Digest, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := read(t, f); got != "one=1" {
			t.Errorf("got %s", got)
		}
	}
	if err := send(t, s, "app", "app.tar", "CUT"); err == nil || !strings.Contains(err.Error(), "went away") {
		t.Errorf("a cut upload: %v", err)
	}
	if again, err := s.Look(t.Context(), "upload:app"); err != nil || again.Digest != o.Digest {
		t.Errorf("a cut upload has changed what was there: %+v, %v", again, err)
	}
	if err := send(t, s, "app", "app.tar", two); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Fetch(t.Context(), "upload:app", o.Digest, nil); err == nil || !strings.Contains(err.Error(), "rexctl base update") {
		t.Errorf("another content under a pinned name: %v", err)
	}
	if err := s.DropUpload("upload:app"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Look(t.Context(), "upload:app"); err == nil || !strings.Contains(err.Error(), "send it again") {
		t.Errorf("after it was dropped: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*", "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestAnUploadedBundleIsVerifiedAsAnyOther(t *testing.T) {
	t.Parallel()
	alice := newKey(t, "alice")
	payload := zst(t, tarOf(t, member{name: "a", text: "1"}))
	m := bundle.Meta{Name: "deb", Version: 3, Created: today, Platform: "linux/amd64", Payload: "deb.tar.zst", Size: int64(len(payload)), Digest: digestOf(payload)}
	signed, err := bundle.Sign(m, alice)
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, f := range signed {
		files = append(files, f.Name, string(f.Content))
	}
	s, dir := newSources(t, source.Config{}, alice)
	if err := send(t, s, "deb", append(files, "deb.tar.zst", string(payload))...); err != nil {
		t.Fatal(err)
	}
	o, err := s.Look(t.Context(), "upload:deb")
	if err != nil || o.Version != 3 || o.SignedBy != "alice" {
		t.Fatalf("%+v, %v", o, err)
	}
	f, err := s.Fetch(t.Context(), "upload:deb", o.Digest, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, f); got != "a=1" {
		t.Errorf("got %s", got)
	}
	payload[len(payload)/2] ^= 1
	if err := send(t, s, "deb", append(files, "deb.tar.zst", string(payload))...); err != nil {
		t.Fatal(err)
	}
	_, err = s.Fetch(t.Context(), "upload:deb", o.Digest, nil)
	wantRefused(t, err, dir, bundle.WrongHash)
}

func TestOddUploadsAreRefused(t *testing.T) {
	t.Parallel()
	s, _ := newSources(t, source.Config{})
	one := string(tarOf(t, member{name: "one"}))
	for what, c := range map[string]struct {
		name  string
		files []string
	}{
		"nothing":         {"app", nil},
		"another's file":  {"app", []string{"other.tar", one}},
		"a path":          {"app", []string{"../app.tar", one}},
		"a bad name":      {"../app", []string{"../app.tar", one}},
		"unsigned zfs":    {"app", []string{"app.zfs", one}},
		"two archives":    {"app", []string{"app.tar", one, "app.tar.gz", one}},
		"one file twice":  {"app", []string{"app.tar", one, "app.tar", one}},
		"large metadata":  {"app", []string{"app.base", strings.Repeat("x", bundle.MaxMeta+1)}},
		"no fingerprint":  {"app", []string{"app.sha256sig.x", "x"}},
		"the digest file": {"app", []string{"DIGEST", "sha256:" + strings.Repeat("0", 64)}},
	} {
		if err := send(t, s, c.name, c.files...); err == nil {
			t.Errorf("%s: taken", what)
		}
	}
}
