package zfssync

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// swapper turns name into a link to target, and back into what it was, until stop is called.
func swapper(t *testing.T, name, target string) (stop func()) {
	t.Helper()
	aside := name + ".aside"
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if err := errors.Join(os.Rename(name, aside), os.Symlink(target, name), os.Remove(name), os.Rename(aside, name)); err != nil {
				t.Errorf("swap %s: %v", name, err)
				return
			}
		}
	})
	return func() { close(done); wg.Wait() }
}

// rounds of a race: enough to meet it many times (a round takes less than a millisecond), few enough for a busy core.
const rounds = 300

// TestALinkThatIsSwappedInIsNotPacked: while rexctl packs, somebody turns a directory of the build context into a link to
// what he may not read himself (failures.md, case 34). TestCase34SwappedLinksDoNotLeadCopyOutOfTheRoot is the other side.
func TestALinkThatIsSwappedInIsNotPacked(t *testing.T) {
	t.Parallel()
	dir, outside := t.TempDir(), t.TempDir()
	const secret = "the secret of the host"
	for name, text := range map[string]string{filepath.Join(dir, "a/f"): "harmless", filepath.Join(outside, "f"): secret} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	defer swapper(t, filepath.Join(dir, "a"), outside)()
	packedSome := 0
	for range rounds {
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		var packed bytes.Buffer
		_, err = PackContext(root, []string{"."}, &packed)
		_ = root.Close()
		if err != nil {
			continue
		}
		packedSome++
		err = eachMember(&packed, Limits{}, func(m member, content io.Reader) error {
			b, err := io.ReadAll(content)
			if strings.Contains(string(b), secret) {
				t.Errorf("%s was packed with what lies outside", m.name)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("packed %d of %d times", packedSome, rounds)
}

func packAll(t *testing.T, dir string) []byte {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	var b bytes.Buffer
	if _, err := PackContext(root, []string{"."}, &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestIgnoreRules: negation, directories, "**" and the order of lines.
func TestIgnoreRules(t *testing.T) {
	t.Parallel()
	rules, err := parseIgnore("# build output\n*.o\n**/node_modules\n!keep/node_modules\nlogs/\n!logs/important/**\n/top\n**/*.tmp\na/**/z\n!**/keep.tmp\n")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"x.o": true, "sub/x.o": false, // without "**" a pattern is about the top
		"node_modules": true, "a/b/node_modules": true, "a/node_modules/left-pad/index.js": true, "keep/node_modules/x": false,
		"logs": true, "logs/x": true, "logs/important": false, // "**" is also nothing
		"logs/important/x": false, "logsx": false,
		"top": true, "sub/top": false, "sub/x.tmp": true, "x.tmp": true, "sub/keep.tmp": false,
		"a/z": true, "a/b/c/z": true, "a/b": false,
	} {
		if got := ignored(rules, name); got != want {
			t.Errorf("%s: ignored %v, want %v", name, got, want)
		}
	}
	if _, err := parseIgnore("ok\n[a-\n"); err == nil || !strings.Contains(err.Error(), ".rexignore:2") {
		t.Errorf("a bad pattern: got %v", err)
	}
}

// TestModesAndOwnerOfACopy: modes are the context's, setuid included; the owner is who is asked for.
func TestModesAndOwnerOfACopy(t *testing.T) {
	t.Parallel()
	ctx, root := t.TempDir(), t.TempDir()
	modes := map[string]fs.FileMode{"d": fs.ModeDir | 0o750, "d/run": 0o755, "d/secret": 0o600, "d/su": 0o755 | fs.ModeSetuid}
	for _, name := range []string{"d", "d/run", "d/secret", "d/su"} {
		p := filepath.Join(ctx, name)
		var err error
		if modes[name].IsDir() {
			err = os.Mkdir(p, 0o700)
		} else {
			err = os.WriteFile(p, nil, 0o600)
		}
		if err := errors.Join(err, os.Chmod(p, modes[name])); err != nil {
			t.Fatal(err)
		}
	}
	uid, gid := os.Getuid(), os.Getgid()
	if uid == 0 {
		uid, gid = 1234, 4321
	}
	if err := ApplyCopy(t.Context(), root, bytes.NewReader(packAll(t, ctx)), CopyOptions{Src: []string{"."}, Dst: "/", UID: uid, GID: gid}); err != nil {
		t.Fatal(err)
	}
	for name, want := range modes {
		info, err := os.Lstat(filepath.Join(root, name))
		if err != nil || info.Mode() != want {
			t.Errorf("%s: mode %v, %v; want %v", name, info.Mode(), err, want)
		}
		if st := info.Sys().(*syscall.Stat_t); int(st.Uid) != uid || int(st.Gid) != gid {
			t.Errorf("%s: owner %d:%d, want %d:%d", name, st.Uid, st.Gid, uid, gid)
		}
	}
}
