//go:build linux

package e2e

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// ociLayout makes an OCI layout directory of the busybox root.
func ociLayout(t *testing.T, dir string, c v1.Config) {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.AddFS(os.DirFS(base)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		t.Fatal(err)
	}
	if img, err = mutate.Config(img, c); err != nil {
		t.Fatal(err)
	}
	at, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := at.AppendImage(img); err != nil {
		t.Fatal(err)
	}
}

// TestAnOCIBaseSaysHowProcessesStart: what it says holds, and the words of the .rex file and of the jail win.
func TestAnOCIBaseSaysHowProcessesStart(t *testing.T) {
	t.Parallel()
	h := newHost(t, "-dev")
	dir := filepath.Join(h.dir, "layout")
	ociLayout(t, dir, v1.Config{
		Env: []string{"GREETING=hello from the base", "PATH=/bin"}, Entrypoint: []string{"/bin/sh", "-c"}, User: "nobody", WorkingDir: "/var/log",
		Cmd: []string{`echo "$GREETING; $(id -un) in $(pwd)"; exec sleep 100000`},
	})
	h.start(t)
	app := h.write(t, "app.rex", "BASE oci:"+dir+"\nRUN id -un >/built-by\n")
	own := h.write(t, "own.rex", "BASE app\nENV GREETING=mine\n")
	hcl := h.write(t, "app.hcl", `cluster "oci" {}
image "app" { rexfile = "`+filepath.Base(app)+`" }
image "own" { rexfile = "`+filepath.Base(own)+`" }
jail "app" {
  image   = "app"
  network = "none"
}
jail "own" {
  image   = "own"
  network = "none"
  user    = "root"
  workdir = "/etc"
}
`)
	h.must(t, "apply", "--yes", "--wait=healthy", hcl)
	for jail, want := range map[string]string{"app": "hello from the base; nobody in /var/log", "own": "mine; root in /etc"} {
		poll(t, 30*time.Second, jail+" says how it was started", func() error {
			if r := h.ctl("logs", jail); !strings.Contains(r.stdout, want) {
				return errors.New(r.String())
			}
			return nil
		})
	}
	if got := h.must(t, "exec", "app", "--", "/bin/cat", "/built-by"); got != "root\n" {
		t.Errorf("RUN was %q's", got)
	}
}
