package zfssync

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"runtime"
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

func apply(tb testing.TB, root string, packed []byte, dst string, src ...string) error {
	tb.Helper()
	return ApplyCopy(tb.Context(), root, bytes.NewReader(packed), CopyOptions{Src: src, Dst: dst, UID: os.Getuid(), GID: os.Getgid()})
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

func TestCopyFollowsTheRulesOfADockerfile(t *testing.T) {
	t.Parallel()
	ctx := tree(t, map[string]string{"app.conf": "conf", "run.sh": "#!", "src/a": "A", "src/sub/b": "B"})
	if err := os.Chmod(filepath.Join(ctx, "run.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	packed, _ := pack(t, ctx, ".")
	for _, c := range []struct {
		src  []string
		dst  string
		want string // path in the root
		text string
	}{
		{[]string{"app.conf"}, "/etc/new.conf", "etc/new.conf", "conf"},
		{[]string{"app.conf"}, "/etc", "etc/app.conf", "conf"},
		{[]string{"app.conf"}, "/opt/x/", "opt/x/app.conf", "conf"},
		{[]string{"app.conf", "run.sh"}, "/opt/y", "opt/y/run.sh", "#!"},
		{[]string{"src"}, "/opt/src", "opt/src/sub/b", "B"},
		{[]string{"src"}, "/etc", "etc/a", "A"},
		{[]string{"src/sub"}, "/z", "z/b", "B"},
		{[]string{"*.conf"}, "/glob", "glob/app.conf", "conf"},
		{[]string{"."}, "/all", "all/src/a", "A"},
		{[]string{"app.conf"}, "/var/run/deep/c", "run/deep/c", "conf"}, // an absolute link of the image
		{[]string{"src"}, "/usr/up/dir", "usr/dir/a", "A"},              // "..", which stops at the root
	} {
		root := tree(t, map[string]string{"etc/": "", "run/": "", "var/run@": "/run", "usr/up@": "../../../usr"})
		if err := apply(t, root, packed, c.dst, c.src...); err != nil {
			t.Errorf("COPY %v %s: %v", c.src, c.dst, err)
			continue
		}
		b, err := os.ReadFile(filepath.Join(root, c.want))
		if err != nil || string(b) != c.text {
			t.Errorf("COPY %v %s: %s is %q, %v, want %q", c.src, c.dst, c.want, b, err, c.text)
		}
	}
	root := t.TempDir()
	if err := apply(t, root, packed, "/", "run.sh"); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(root, "run.sh")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("mode: got %v, %v, want 0755", info, err)
	}
	for _, c := range [][2]string{{"nothing", "/x"}, {"app.conf", "relative"}, {"src", "/run.sh"}, {"../x", "/x"}} {
		if err := apply(t, root, packed, c[1], c[0]); err == nil {
			t.Errorf("COPY %s %s was done", c[0], c[1])
		}
	}
}

func TestCopyReplacesALinkInsteadOfWritingThroughIt(t *testing.T) {
	t.Parallel()
	outside := tree(t, map[string]string{"victim": "old"})
	root := tree(t, map[string]string{"etc/passwd@": filepath.Join(outside, "victim"), "lib@": outside})
	packed, _ := pack(t, tree(t, map[string]string{"passwd": "new", "lib/x": "X"}), ".")
	if err := apply(t, root, packed, "/etc/", "passwd"); err != nil {
		t.Fatal(err)
	}
	// The absolute link begins at the jail's root: what it names is made there.
	if err := apply(t, root, packed, "/", "lib/x"); err != nil {
		t.Fatal(err)
	}
	if err := apply(t, root, packed, "/", "."); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(filepath.Join(outside, "victim")); string(b) != "old" {
		t.Errorf("the file outside became %q", b)
	}
	if e, _ := os.ReadDir(outside); len(e) != 1 {
		t.Errorf("outside holds %v, want only the victim", e)
	}
}

// Case 34, the race: a process in the jail swaps a directory for a link that leads out, all the time.
func TestCase34SwappedLinksDoNotLeadCopyOutOfTheRoot(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	root := tree(t, map[string]string{"a/real/": ""})
	packed, _ := pack(t, tree(t, map[string]string{"f": "x", "sub/g": "y"}), ".")
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		dir, hidden := filepath.Join(root, "a/real"), filepath.Join(root, "a/hidden")
		for {
			select {
			case <-stop:
				return
			default:
			}
			// Errors are part of the race: the copier may stand in the way.
			_ = os.Rename(dir, hidden)
			_ = os.Symlink(outside, dir)
			runtime.Gosched()
			_ = os.Remove(dir)
			_ = os.Rename(hidden, dir)
		}
	}()
	copied := 0
	for range 500 {
		if apply(t, root, packed, "/a/real/", "f") == nil && apply(t, root, packed, "/a/real/", ".") == nil {
			copied++
		}
	}
	close(stop)
	<-done
	if e, _ := os.ReadDir(outside); len(e) != 0 {
		t.Fatalf("the copy went outside: %v", e)
	}
	t.Logf("%d of 500 copies got through", copied)
}

func TestForgedContextsAreRefused(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]tar.Header{
		"parent":    {Name: "../x", Typeflag: tar.TypeReg},
		"absolute":  {Name: "/etc/x", Typeflag: tar.TypeReg},
		"hard link": {Name: "x", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"},
		"device":    {Name: "x", Typeflag: tar.TypeChar, Devmajor: 1},
	} {
		root := t.TempDir()
		if err := apply(t, root, makeTar(t, []tar.Header{h}, nil), "/", "."); err == nil {
			t.Errorf("%s was taken", name)
		}
		if e, _ := os.ReadDir(root); len(e) != 0 {
			t.Errorf("%s left %v", name, e)
		}
	}
	big := makeTar(t, []tar.Header{{Name: "x", Typeflag: tar.TypeReg}}, map[string]string{"x": strings.Repeat("x", 1000)})
	err := ApplyCopy(t.Context(), t.TempDir(), bytes.NewReader(big), CopyOptions{Src: []string{"."}, Dst: "/", Limits: Limits{Bytes: 999}})
	if err == nil || !strings.Contains(err.Error(), "more than 999 bytes") {
		t.Errorf("too big: got %v", err)
	}
}

func FuzzApplyCopy(f *testing.F) {
	f.Add([]byte("not a tar"), "/")
	f.Add(makeTar(f, []tar.Header{{Name: "a", Typeflag: tar.TypeReg}}, map[string]string{"a": "x"}), "/etc/")
	f.Add(makeTar(f, []tar.Header{{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "../../.."}, {Name: "l/x", Typeflag: tar.TypeReg}}, nil), "/l")
	f.Fuzz(func(t *testing.T, packed []byte, dst string) {
		top := t.TempDir()
		root := filepath.Join(top, "root")
		if err := os.Mkdir(root, 0o755); err != nil {
			t.Fatal(err)
		}
		_ = ApplyCopy(t.Context(), root, bytes.NewReader(packed), CopyOptions{
			Src: []string{"."}, Dst: dst, UID: os.Getuid(), GID: os.Getgid(), Limits: Limits{Bytes: 1 << 20, Entries: 100, Ratio: 1000},
		})
		if e, _ := os.ReadDir(top); len(e) != 1 {
			t.Fatalf("something was written beside the root: %v", e)
		}
	})
}
