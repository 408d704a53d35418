package zfssync

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// tree makes files below a new directory: "path" -> content, "path/" a directory, "path@" a link to the content.
func tree(tb testing.TB, files map[string]string) string {
	tb.Helper()
	dir := tb.TempDir()
	for name, content := range files {
		p := filepath.Join(dir, strings.TrimRight(name, "/@"))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			tb.Fatal(err)
		}
		var err error
		switch {
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(p, 0o755)
		case strings.HasSuffix(name, "@"):
			err = os.Symlink(content, p)
		default:
			err = os.WriteFile(p, []byte(content), 0o644)
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	return dir
}

// makeTar packs headers; Size is set from the content map.
func makeTar(tb testing.TB, headers []tar.Header, content map[string]string) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		h.Size = int64(len(content[h.Name]))
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		if err := w.WriteHeader(&h); err != nil {
			tb.Fatal(err)
		}
		if _, err := w.Write([]byte(content[h.Name])); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func openRoot(tb testing.TB, dir string) *os.Root {
	tb.Helper()
	r, err := os.OpenRoot(dir)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = r.Close() })
	return r
}

// pack packs dir and checks that all three digests agree.
func pack(tb testing.TB, dir string, src ...string) (packed []byte, digest string) {
	tb.Helper()
	root := openRoot(tb, dir)
	var b bytes.Buffer
	digest, err := PackContext(root, src, &b)
	if err != nil {
		tb.Fatal(err)
	}
	for what, fn := range map[string]func() (string, error){
		"CopyDigest":    func() (string, error) { return CopyDigest(root, src) },
		"ContextDigest": func() (string, error) { return ContextDigest(bytes.NewReader(b.Bytes()), src, Limits{}) },
	} {
		if got, err := fn(); err != nil || got != digest {
			tb.Errorf("%s: got %s, %v, want %s", what, got, err, digest)
		}
	}
	return b.Bytes(), digest
}

func TestPackingIsTheSameForTheSameContent(t *testing.T) {
	t.Parallel()
	files := map[string]string{"a": "1", "d/b": "2", "d/l@": "b", "e/": ""}
	one, two := tree(t, files), tree(t, files)
	old := time.Unix(1e9, 0)
	if err := os.Chtimes(filepath.Join(two, "a"), old, old); err != nil {
		t.Fatal(err)
	}
	a, da := pack(t, one, ".")
	b, db := pack(t, two, ".")
	if !bytes.Equal(a, b) || da != db {
		t.Errorf("got %d and %d bytes, digests %s and %s, want them equal", len(a), len(b), da, db)
	}
	for name, change := range map[string]func() error{
		"content": func() error { return os.WriteFile(filepath.Join(two, "a"), []byte("3"), 0o644) },
		"mode":    func() error { return os.Chmod(filepath.Join(two, "d/b"), 0o755) },
		"name":    func() error { return os.Rename(filepath.Join(two, "e"), filepath.Join(two, "f")) },
		"link": func() error {
			return os.Rename(filepath.Join(two, "d/l"), filepath.Join(two, "d/m"))
		},
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		_, now := pack(t, two, ".")
		if now == db {
			t.Errorf("the digest did not change with %s", name)
		}
		db = now
	}
}

func TestDigestOfOneStepCanBeCheckedInTheContextOfAll(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{"a.conf": "1", "b.conf": "2", "d/x": "3", "d/y/z": "4", "d-e": "5"})
	packed, _ := pack(t, dir, "a.conf", "d", "*.conf", ".")
	for _, src := range [][]string{{"a.conf"}, {"d"}, {"d/y"}, {"*.conf"}, {"d/*"}, {"d", "a.conf"}, {"."}} {
		want, err := CopyDigest(openRoot(t, dir), src)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ContextDigest(bytes.NewReader(packed), src, Limits{})
		if err != nil || got != want {
			t.Errorf("%v: got %s, %v, want %s", src, got, err, want)
		}
	}
}

func TestIgnoredFilesDoNotEnterTheContext(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{
		".rexignore": "# secrets\n*.key\nbuild\n!build/keep\n**/tmp/*.o\n", "a.key": "", "b": "x", "build/x": "", "build/keep": "k", "p/q/tmp/z.o": "", "p/q/tmp/z.c": "",
	})
	members, err := listContext(openRoot(t, dir), []string{"."})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range members {
		names = append(names, m.name)
	}
	want := ".rexignore b build/keep p p/q p/q/tmp p/q/tmp/z.c"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if _, err := CopyDigest(openRoot(t, dir), []string{"a.key"}); err == nil || !strings.Contains(err.Error(), "a.key") {
		t.Errorf("copy of an ignored file: got %v, want an error that names it", err)
	}
}

// Case 34 of the failure list: COPY ../../etc, a link as source.
func TestCase34NothingOutsideTheContextIsRead(t *testing.T) {
	t.Parallel()
	outside := tree(t, map[string]string{"secret": "s"})
	dir := tree(t, map[string]string{
		"ok": "x", "abs@": filepath.Join(outside, "secret"), "up@": "../" + filepath.Base(outside) + "/secret", "dir@": outside, "in@": "ok",
	})
	root := openRoot(t, dir)
	for _, src := range []string{"..", "../../etc", "a/../../x", "abs", "up", "dir", "dir/secret", "missing", "../*", "in"} {
		if d, err := CopyDigest(root, []string{src}); err == nil {
			t.Errorf("COPY %s: got %s, want a refusal", src, d)
		}
	}
	packed, _ := pack(t, dir, ".") // links are packed as links
	if bytes.Contains(packed, []byte("secret content")) {
		t.Error("the secret was packed")
	}
	to := t.TempDir()
	if err := apply(t, to, packed, "/", "."); err != nil {
		t.Fatal(err)
	}
	if got, err := os.Readlink(filepath.Join(to, "abs")); err != nil || got != filepath.Join(outside, "secret") {
		t.Errorf("link: got %q, %v", got, err)
	}
}
