package jail

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestLinksBeneathARootMeanWhatTheyMeanToTheJail(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, d := range []string{"rescue", "usr/bin", "etc"} {
		must(t, os.MkdirAll(filepath.Join(root, d), 0o755))
	}
	must(t, os.WriteFile(filepath.Join(root, "rescue/sh"), []byte("x"), 0o755)) //nolint:gosec // a program
	for name, target := range map[string]string{
		"bin": "/usr/bin", "usr/bin/sh": "/rescue/sh", "up": "../../../../rescue", "loop": "loop", "etc/localtime": "/nowhere/x", "dot": "./bin/.",
	} {
		must(t, os.Symlink(target, filepath.Join(root, name)))
	}
	for name, want := range map[string]error{
		"/bin/sh": nil, "up/sh": nil, "/dot/sh": nil, "/": nil, "/../../rescue/sh": nil,
		"/etc/localtime": fs.ErrNotExist, "/bin/none": fs.ErrNotExist, "/none/x": fs.ErrNotExist,
	} {
		info, err := statBelow(root, name)
		if !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", name, err, want)
		}
		if err == nil && info.IsDir() != (name == "/") {
			t.Errorf("%s: got %v", name, info.Mode())
		}
	}
	if _, err := statBelow(root, "/loop"); err == nil {
		t.Error("a loop has no end")
	}
	if raw, err := readBelow(root, "/bin/sh", 10); err != nil || string(raw) != "x" {
		t.Errorf("got %q, %v", raw, err)
	}
	if _, err := readBelow(root, "/etc/passwd", 10); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	for _, bad := range []string{root + "/none"} {
		if _, err := readBelow(bad, "x", 1); err == nil {
			t.Error("a root that is not there was read")
		}
	}
}
