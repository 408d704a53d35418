package source_test

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rexcarcer/rexcarcer/internal/testenv"
	"github.com/rexcarcer/rexcarcer/zfssync/bundle"
	"github.com/rexcarcer/rexcarcer/zfssync/source"
)

// release makes a directory as FreeBSD publishes one, and returns the MANIFEST.
func release(t *testing.T, dir string) []byte {
	t.Helper()
	testenv.RequireTool(t, "xz")
	cmd := exec.CommandContext(t.Context(), "xz", "-9", "-c")
	cmd.Stdin = bytes.NewReader(tarOf(t, member{name: "./bin/freebsd-version", text: "14.3-RELEASE"}, member{name: "./etc/rc", text: "rc"}))
	packed, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "base.txz"), packed)
	manifest := fmt.Appendf(nil, "base-dbg.txz\t%s\t7\t\"base-dbg\"\t\"Base system (Debugging)\"\toff\nbase.txz\t%s\t2\t\"base\"\t\"Base system (MANDATORY)\"\ton\n",
		strings.Repeat("0", 64), strings.TrimPrefix(digestOf(packed), "sha256:"))
	write(t, filepath.Join(dir, "MANIFEST"), manifest)
	return manifest
}

func TestReleaseIsFetchedWhenItsManifestIsPinned(t *testing.T) {
	t.Parallel()
	from := t.TempDir()
	manifest := release(t, from)
	ref := "freebsd:" + web(t, from, nil)
	s, dir := newSources(t, source.Config{})

	_, err := s.Look(t.Context(), ref)
	wantRefused(t, err, dir, bundle.Unsigned)
	if !strings.Contains(err.Error(), digestOf(manifest)) {
		t.Errorf("the digest to compare is not told: %v", err)
	}
	_, err = s.Look(t.Context(), ref+"@sha256:"+strings.Repeat("1", 64))
	wantRefused(t, err, dir, bundle.OtherContent)

	f, err := s.Fetch(t.Context(), ref+"@"+digestOf(manifest), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if f.Origin.Digest != digestOf(manifest) || f.Origin.Platform != "freebsd/amd64" {
		t.Errorf("got %+v", f.Origin)
	}
	if got := read(t, f); got != "./bin/freebsd-version=14.3-RELEASE ./etc/rc=rc" {
		t.Errorf("got %s", got)
	}

	change(t, from, "base.txz", func(b []byte) []byte { b[30] ^= 1; return b })
	_, err = s.Fetch(t.Context(), ref+"@"+digestOf(manifest), "", nil)
	wantRefused(t, err, dir, bundle.WrongHash)
}

func TestReleaseIsFetchedWhenItsManifestIsSigned(t *testing.T) {
	t.Parallel()
	from, k := t.TempDir(), newKey(t, "mirror")
	sig, err := k.Sign(release(t, from))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(from, "MANIFEST.sha256sig."+k.Signer.Fingerprint), sig)
	s, dir := newSources(t, source.Config{}, k)
	ref := "freebsd:" + web(t, from, nil)
	f, err := s.Fetch(t.Context(), ref, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if read(t, f); f.Origin.SignedBy != "mirror" {
		t.Errorf("got %+v", f.Origin)
	}
	change(t, from, "MANIFEST", func(b []byte) []byte { return append(b, '\n') })
	_, err = s.Look(t.Context(), ref)
	wantRefused(t, err, dir, bundle.BadSignature)
}

func TestReleaseReferencesAreChecked(t *testing.T) {
	t.Parallel()
	s, _ := newSources(t, source.Config{})
	for _, ref := range []string{"freebsd:", "freebsd:latest", "freebsd:14.3/../..", "freebsd:ftp://host/dir"} {
		if _, err := s.Look(t.Context(), ref); err == nil || !strings.Contains(err.Error(), "freebsd:14.3") {
			t.Errorf("%s: got %v", ref, err)
		}
	}
}
