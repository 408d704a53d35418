package zfssync

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOwnersAreThoseOfTheImage(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"passwd": "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:34:www:/var/www:/bin/false\nbroken:x\nhigh:x:70000:1::/:\n",
		"group":  "root:x:0:\nadm:x:4:www-data\n",
	} {
		if err := os.WriteFile(filepath.Join(root, "etc", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		root, owner string
		uid, gid    int
		fails       string
	}{
		{root, "", 0, 0, ""},
		{root, "www-data", 33, 34, ""},
		{root, "33", 33, 34, ""}, // the group of its line
		{root, "1000", 1000, 1000, ""},
		{root, "www-data:adm", 33, 4, ""},
		{root, "1000:adm", 1000, 4, ""},
		{root, "root:99", 0, 99, ""},
		{t.TempDir(), "12:13", 12, 13, ""},
		{root, "nobody", 0, 0, "no nobody in /etc/passwd"},
		{root, "root:wheel", 0, 0, "no wheel in /etc/group"},
		{root, "broken", 0, 0, "no broken"},
		{root, "high", 0, 0, "want 0 to 65535"},
		{root, "65536", 0, 0, "want 0 to 65535"},
		{t.TempDir(), "root", 0, 0, "the image has no /etc/passwd"},
	} {
		uid, gid, err := ResolveOwner(c.root, c.owner)
		switch {
		case c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)):
			t.Errorf("%q: got %v, want %q", c.owner, err, c.fails)
		case c.fails == "" && (err != nil || uid != c.uid || gid != c.gid):
			t.Errorf("%q: got %d:%d, %v; want %d:%d", c.owner, uid, gid, err, c.uid, c.gid)
		}
	}
}
