package zfssync

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/rexcarcer/rexcarcer/internal/run"
	"github.com/rexcarcer/rexcarcer/internal/testenv"
)

func extract(tb testing.TB, archive []byte, limits Limits) (dst string, lines []string, err error) {
	tb.Helper()
	testenv.RequireRoot(tb) // owners
	top := tb.TempDir()
	dst = filepath.Join(top, "root")
	if err := os.Mkdir(dst, 0o755); err != nil {
		tb.Fatal(err)
	}
	r, done, err := decompress(bytes.NewReader(archive), limits.withDefaults())
	if err != nil {
		return dst, nil, err
	}
	defer done()
	err = extractTar(tb.Context(), r, dst, limits.withDefaults(), func(l string) { lines = append(lines, l) })
	if e, _ := os.ReadDir(top); len(e) != 1 {
		tb.Errorf("something was written beside the root: %v", e)
	}
	return dst, lines, err
}

// Case 36 of the failure list: archives that want out, or want everything.
func TestCase36HostileArchivesAreRefused(t *testing.T) {
	t.Parallel()
	reg := func(n string) tar.Header { return tar.Header{Name: n, Typeflag: tar.TypeReg} }
	for name, hs := range map[string][]tar.Header{
		"parent":            {reg("../x")},
		"hidden parent":     {reg("a/../../x")},
		"absolute":          {reg("/etc/x")},
		"hard link out":     {{Name: "x", Typeflag: tar.TypeLink, Linkname: "../../etc/passwd"}},
		"hard link abs":     {{Name: "x", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}},
		"link climbs":       {{Name: "a/l", Typeflag: tar.TypeSymlink, Linkname: "../../x"}},
		"link climbs late":  {{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "a/../../x"}},
		"file on directory": {{Name: "d/", Typeflag: tar.TypeDir}, reg("d")},
		"loop":              {{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "l"}, reg("l/x")},
		"owner":             {{Name: "x", Typeflag: tar.TypeReg, Uid: 1<<32 - 1}},
	} {
		if _, _, err := extract(t, makeTar(t, hs, nil), Limits{}); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestWritingThroughALinkStaysInTheRoot(t *testing.T) {
	t.Parallel()
	b := makeTar(t, []tar.Header{
		{Name: "var/run", Typeflag: tar.TypeSymlink, Linkname: "/run"},
		{Name: "var/run/x", Typeflag: tar.TypeReg},
	}, map[string]string{"var/run/x": "here"})
	dst, _, err := extract(t, b, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(dst + "/run/x"); err != nil || string(got) != "here" {
		t.Errorf("got %q, %v, want the file below the root's /run", got, err)
	}
}

func TestDevicesAreLeftOutAndToldAndModesAreKept(t *testing.T) {
	t.Parallel()
	b := makeTar(t, []tar.Header{
		{Name: "dev/sda", Typeflag: tar.TypeBlock, Devmajor: 8},
		{Name: "wh", Typeflag: tar.TypeChar}, // 0:0 would be a whiteout
		{Name: "su", Typeflag: tar.TypeReg, Mode: 0o4755, Uid: 7, Gid: 8, PAXRecords: map[string]string{
			"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", "SCHILY.xattr.trusted.overlay.opaque": "y",
		}},
		{Name: "su2", Typeflag: tar.TypeLink, Linkname: "su"},
	}, map[string]string{"su": "x"})
	dst, lines, err := extract(t, b, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(lines, "\n"); !strings.Contains(got, "dev/sda") || !strings.Contains(got, "left out 2") {
		t.Errorf("progress: %s", got)
	}
	info, err := os.Stat(dst + "/su2")
	if err != nil || info.Mode() != 0o755|os.ModeSetuid {
		t.Errorf("mode: got %v, %v, want setuid 0755", info.Mode(), err)
	}
	if _, err := os.Lstat(dst + "/wh"); !os.IsNotExist(err) {
		t.Errorf("whiteout: %v, want it left out", err)
	}
}

func TestCase36BombsEnd(t *testing.T) {
	t.Parallel()
	var gz bytes.Buffer
	z := gzip.NewWriter(&gz)
	bomb := tar.NewWriter(z)
	if err := bomb.WriteHeader(&tar.Header{Name: "zeros", Typeflag: tar.TypeReg, Size: 80 << 20}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(bomb, zeros{}, 80<<20); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(bomb.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := extract(t, gz.Bytes(), Limits{Ratio: 100}); err == nil || !strings.Contains(err.Error(), "more than 100 times its size") {
		t.Errorf("ratio: got %v", err)
	}
	var hs []tar.Header
	for i := range 20 {
		hs = append(hs, tar.Header{Name: strings.Repeat("x", i+1), Typeflag: tar.TypeReg})
	}
	if _, _, err := extract(t, makeTar(t, hs, nil), Limits{Entries: 10}); err == nil || !strings.Contains(err.Error(), "more than 10 members") {
		t.Errorf("members: got %v", err)
	}
	big := makeTar(t, []tar.Header{{Name: "x", Typeflag: tar.TypeReg}}, map[string]string{"x": strings.Repeat("x", 4096)})
	if _, _, err := extract(t, big, Limits{Bytes: 4095}); err == nil || !strings.Contains(err.Error(), "more than 4095 bytes") {
		t.Errorf("bytes: got %v", err)
	}
	if _, _, err := extract(t, big[:2000], Limits{}); err == nil {
		t.Error("a cut archive was taken")
	}
	if _, _, err := extract(t, []byte("\xfd7zXZ\x00junk"), Limits{}); err == nil {
		t.Error("broken xz was taken")
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestCompressedArchivesAreRead(t *testing.T) {
	t.Parallel()
	plain := makeTar(t, []tar.Header{{Name: "./etc/motd", Typeflag: tar.TypeReg}}, map[string]string{"./etc/motd": "hi"})
	var zs, gz bytes.Buffer
	w, err := zstd.NewWriter(&zs)
	if err != nil {
		t.Fatal(err)
	}
	g := gzip.NewWriter(&gz)
	for _, c := range []interface {
		Write([]byte) (int, error)
		Close() error
	}{w, g} {
		if _, err := c.Write(plain); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for name, b := range map[string][]byte{"plain": plain, "zstd": zs.Bytes(), "gzip": gz.Bytes()} {
		dst, _, err := extract(t, b, Limits{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got, err := os.ReadFile(dst + "/etc/motd"); err != nil || string(got) != "hi" {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}

const hostSources = `# modern
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/k.gpg

Types: deb
URIs: http://mirror.example/security
Suites: bookworm-security
Components: main

Enabled: no
Types: deb
URIs: http://off.example/
Suites: bookworm
Components: main

Types: deb
URIs: http://inline.example
Suites: nodistro
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 x
`

const hostList = `deb [arch=amd64 signed-by=/k.gpg] http://old.example/debian bullseye main # why
deb-src http://old.example/debian bullseye main
deb http://old.example/debian bullseye/updates main contrib
debx nonsense
deb [broken
`

func TestMirrorComesFromConfigThenHostThenDebian(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{"sources.list": hostList, "sources.list.d/debian.sources": hostSources})
	for _, c := range []struct {
		suite, mirror string
		want          string
	}{
		{"bookworm", "", "http://mirror.example/debian /usr/share/keyrings/k.gpg\ndeb http://mirror.example/debian bookworm main\n" +
			"deb http://mirror.example/debian bookworm-updates main\ndeb http://mirror.example/security bookworm-security main\n"},
		{"bullseye", "", "http://old.example/debian /k.gpg\ndeb http://old.example/debian bullseye main\ndeb http://old.example/debian bullseye/updates main\n"},
		{"trixie", "", "http://deb.debian.org/debian " + debianKeyring + "\ndeb http://deb.debian.org/debian trixie main\n"},
		{"trixie", "http://m.example", "http://m.example " + debianKeyring + "\ndeb http://m.example trixie main\n"},
	} {
		from, list := debootstrap{mirror: c.mirror, aptDir: dir}.choose(c.suite)
		got := from.URI + " " + from.Keyring + "\n"
		for _, s := range list {
			got += s.line() + "\n"
		}
		if got != c.want {
			t.Errorf("%s: got\n%swant\n%s", c.suite, got, c.want)
		}
	}
}

func FuzzAptSources(f *testing.F) {
	f.Add(hostSources)
	f.Add(hostList)
	f.Fuzz(func(t *testing.T, text string) {
		for _, s := range append(parseSourcesList(text), parseDeb822(text)...) {
			if strings.ContainsAny(s.line(), "\n\r") || s.URI == "" || s.Suite == "" {
				t.Errorf("%q gave %+v", text, s)
			}
		}
	})
}

func TestDebootstrapFailureNamesTheMirrorAndTheLastLine(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{"sources.list": "deb [signed-by=/etc/passwd] http://m.example bookworm main\n"})
	tr, err := run.NewTranscript("$ debootstrap --variant=minbase --force-check-gpg --keyring=/etc/passwd bookworm " + dir + " http://m.example\n" +
		"I: Retrieving InRelease\nE: Failed getting release file\n? 1\n")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	d := debootstrap{run: tr, aptDir: dir, progress: func(l string) { lines = append(lines, l) }}
	err = d.make(t.Context(), "bookworm", dir)
	if err == nil || !strings.Contains(err.Error(), "E: Failed getting release file") || !strings.Contains(err.Error(), "http://m.example is reachable") {
		t.Errorf("got %v", err)
	}
	if len(lines) != 3 {
		t.Errorf("progress: got %q", lines)
	}
	if err := tr.Done(); err != nil {
		t.Error(err)
	}
}
