package pki

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rexcarcer/rexcarcer/internal/testenv"
)

func testFiles(tb testing.TB) JailFiles {
	tb.Helper()
	ca := testCA(tb)
	chain, key := testIssue(tb, ca, jailProfile(), testNow)
	keyPEM, err := EncodeKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	return JailFiles{KeyPEM: keyPEM, ChainPEM: chain, CAPEM: ca.CertPEM(), UID: os.Getuid(), GID: os.Getgid()}
}

func openRoot(tb testing.TB, dir string) *os.Root {
	tb.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { root.Close() })
	return root
}

func checkFiles(t *testing.T, dir string) {
	t.Helper()
	for name, mode := range map[string]os.FileMode{"host.key": 0o600, "host.crt": 0o644, "cluster.crt": 0o644} {
		info, err := os.Lstat(filepath.Join(dir, "etc/ssl/rc", name))
		if err != nil {
			t.Error(err)
			continue
		}
		if info.Mode() != mode {
			t.Errorf("%s has mode %v, want %v", name, info.Mode(), mode)
		}
	}
	entries, err := os.ReadDir(filepath.Join(dir, "etc/ssl/rc"))
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 3 {
		t.Errorf("files left: %v, want three", entries)
	}
}

func TestJailGetsKeyChainAndCA(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	files := testFiles(t)
	if err := WriteJailFiles(openRoot(t, dir), files); err != nil {
		t.Fatal(err)
	}
	checkFiles(t, dir)
	chain, err := os.ReadFile(filepath.Join(dir, "etc/ssl/rc/host.crt"))
	if err != nil {
		t.Fatal(err)
	}
	if certs, err := ParseChain(chain); err != nil || len(certs) != 2 || !certs[1].IsCA {
		t.Errorf("host.crt: %d certificates (%v), want the jail's and the CA's", len(certs), err)
	}
}

func TestWritingTheSameFilesTwiceTouchesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root, files := openRoot(t, dir), testFiles(t)
	inode := func() (nodes [3]uint64) {
		if err := WriteJailFiles(root, files); err != nil {
			t.Fatal(err)
		}
		for i, name := range []string{"host.key", "host.crt", "cluster.crt"} {
			info, err := os.Stat(filepath.Join(dir, "etc/ssl/rc", name))
			if err != nil {
				t.Fatal(err)
			}
			nodes[i] = info.Sys().(*syscall.Stat_t).Ino
		}
		return nodes
	}
	if first, second := inode(), inode(); first != second {
		t.Errorf("inodes changed from %v to %v", first, second)
	}
	files.KeyPEM = nil // a renewal that keeps the key
	if first, second := inode(), inode(); first != second {
		t.Errorf("inodes changed from %v to %v", first, second)
	}
}

func TestLinksPlantedByTheJailLeadNowhere(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	secret := filepath.Join(outside, "host.key")
	if err := os.WriteFile(secret, []byte("untouched"), 0o644); err != nil {
		t.Fatal(err)
	}
	type plant struct{ at, target string }
	cases := map[string][]plant{
		"rc out of the root":        {{"etc/ssl/rc", outside}},
		"rc relative out":           {{"etc/ssl/rc", "../../../../../../../../../.." + outside}},
		"rc within the root":        {{"etc/ssl/rc", "../../tmp"}},
		"ssl out of the root":       {{"etc/ssl", outside}},
		"etc out of the root":       {{"etc", outside}},
		"files out of the root":     {{"etc/ssl/rc/host.key", secret}, {"etc/ssl/rc/host.crt", secret}},
		"temporary file":            {{"etc/ssl/rc/.host.key.new", secret}},
		"dangling rc":               {{"etc/ssl/rc", "nowhere"}},
		"rc to itself":              {{"etc/ssl/rc", "rc"}},
		"ssl linked inside":         {{"etc/ssl", "../tmp"}},
		"a file in the dir's place": {{"etc/ssl/rc", ""}},
	}
	files := testFiles(t)
	for name, plants := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.MkdirAll(filepath.Join(dir, "tmp"), 0o755); err != nil {
				t.Fatal(err)
			}
			for _, p := range plants {
				at := filepath.Join(dir, p.at)
				if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
					t.Fatal(err)
				}
				var err error
				if p.target == "" {
					err = os.WriteFile(at, []byte("x"), 0o644)
				} else {
					err = os.Symlink(p.target, at)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := WriteJailFiles(openRoot(t, dir), files); err != nil {
				t.Fatal(err)
			}
			checkFiles(t, dir)
		})
	}
	entries, err := os.ReadDir(outside)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(secret)
	if err != nil || string(data) != "untouched" || len(entries) != 1 {
		t.Errorf("outside the root: %q, %v (%v)", data, entries, err)
	}
}

func TestOddThingsInTheFilesPlacesAreReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rc := filepath.Join(dir, "etc/ssl/rc")
	if err := os.MkdirAll(filepath.Join(rc, "host.crt/full"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(rc, "host.key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := WriteJailFiles(openRoot(t, dir), testFiles(t)); err != nil {
		t.Fatal(err)
	}
	checkFiles(t, dir)
}

func TestFilesBelongToTheJailsRoot(t *testing.T) {
	t.Parallel()
	testenv.RequireRoot(t)
	dir := t.TempDir()
	files := testFiles(t)
	files.UID, files.GID = 165536, 165537
	if err := WriteJailFiles(openRoot(t, dir), files); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"etc/ssl/rc", "etc/ssl/rc/host.key", "etc/ssl/rc/host.crt"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if !ownedBy(info, 165536, 165537) {
			t.Errorf("%s belongs to %+v", name, info.Sys())
		}
	}
}

func TestHalfGivenFilesAreRefused(t *testing.T) {
	t.Parallel()
	files := testFiles(t)
	files.CAPEM = nil
	if err := WriteJailFiles(openRoot(t, t.TempDir()), files); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("error %v, want one that says what is missing", err)
	}
}
