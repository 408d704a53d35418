package zfssync

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func apply(tb testing.TB, root string, packed []byte, dst string, src ...string) error {
	tb.Helper()
	return ApplyCopy(tb.Context(), root, bytes.NewReader(packed), CopyOptions{Src: src, Dst: dst, UID: os.Getuid(), GID: os.Getgid()})
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
