package build

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/run"
	"github.com/rexcarcer/rexcarcer/internal/testenv"
	"github.com/rexcarcer/rexcarcer/jail"
	"github.com/rexcarcer/rexcarcer/spec"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

// busyboxTar packs a root file system of busybox alone.
func busyboxTar(tb testing.TB) string {
	tb.Helper()
	raw, err := os.ReadFile(testenv.RequireTool(tb, "busybox"))
	if err != nil {
		tb.Fatal(err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(h tar.Header, content []byte) {
		h.Size = int64(len(content))
		if err := w.WriteHeader(&h); err != nil {
			tb.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			tb.Fatal(err)
		}
	}
	for _, d := range []string{"bin/", "etc/", "tmp/", "proc/", "sys/", "dev/", "root/"} {
		add(tar.Header{Name: d, Typeflag: tar.TypeDir, Mode: 0o755}, nil)
	}
	add(tar.Header{Name: "bin/busybox", Typeflag: tar.TypeReg, Mode: 0o755}, raw)
	for _, a := range []string{"sh", "echo", "cat", "id", "ls", "test", "sleep", "touch", "chown", "env", "seq"} {
		add(tar.Header{Name: "bin/" + a, Typeflag: tar.TypeSymlink, Linkname: "/bin/busybox"}, nil)
	}
	add(tar.Header{Name: "etc/passwd", Typeflag: tar.TypeReg, Mode: 0o644}, []byte("root:x:0:0:root:/root:/bin/sh\n"))
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	p := filepath.Join(tb.TempDir(), "busybox.tar")
	if err := os.WriteFile(p, b.Bytes(), 0o644); err != nil {
		tb.Fatal(err)
	}
	return p
}

func realBuilder(tb testing.TB) (*Builder, zfssync.Store) {
	tb.Helper()
	testenv.RequireRoot(tb)
	if _, err := exec.LookPath("crun"); err != nil {
		testenv.RequireTool(tb, "runc")
	}
	dir := tb.TempDir()
	for _, p := range []string{dir, filepath.Dir(dir)} { // a mapped root has to get through
		if err := os.Chmod(p, 0o755); err != nil {
			tb.Fatal(err)
		}
	}
	store, err := zfssync.OpenOverlay(zfssync.Config{Dir: filepath.Join(dir, "store"), Runner: run.Real{}})
	if err != nil {
		tb.Fatal(err)
	}
	jails, err := jail.NewLinux(jail.LinuxConfig{StateDir: filepath.Join(dir, "jails"), Instance: fmt.Sprintf("build-%d", os.Getpid())})
	if err != nil {
		tb.Fatal(err)
	}
	features, err := jails.Probe(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := errors.Join(jails.Close(), store.Teardown(context.Background()), store.Close()); err != nil {
			tb.Error(err)
		}
	})
	c := Config{
		Store: store, Jails: jails, Dir: filepath.Join(dir, "build"),
		Attach: func(context.Context, string) (Network, error) {
			return Network{ResolvConf: "nameserver 192.0.2.53\n"}, nil
		},
	}
	if store.Features().IDMap && features.UserNS {
		c.IDMap = zfssync.IDMap{HostBase: 1 << 20, Size: 1 << 16}
	}
	return New(c), store
}

func TestRealBuildFromATarball(t *testing.T) {
	b, store := realBuilder(t)
	ctxDir := t.TempDir()
	if err := os.WriteFile(filepath.Join(ctxDir, "app.sh"), []byte("#!/bin/sh\necho app\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(ctxDir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	var packed bytes.Buffer
	digest, err := zfssync.PackContext(root, []string{"."}, &packed)
	if err != nil {
		t.Fatal(err)
	}
	img := image(t, "app", busyboxTar(t),
		"ENV GREETING=hello world",
		"RUN echo $GREETING > /greeting && id -u && cat /etc/resolv.conf && /usr/sbin/policy-rc.d; test $? = 101",
		"COPY . /opt/",
		"RUN /opt/app.sh && touch /mine && chown 33:33 /mine && echo to-stderr >&2",
	)
	img.Command = []string{"/opt/app.sh"}
	for i := range img.Steps {
		if strings.HasPrefix(img.Steps[i].Text, "COPY") {
			img.Steps[i] = spec.Step{Kind: spec.StepCopy, Src: []string{"."}, Dst: "/opt/", Digest: digest, Line: i + 2, Text: img.Steps[i].Text}
		}
	}
	img = seal(t, img)
	var out []string
	res, err := b.Build(t.Context(), Request{Image: img, Context: bytes.NewReader(packed.Bytes())}, func(e Event) {
		if e.Kind == Output {
			out = append(out, e.Text)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("cold: %+v", res)
	for _, want := range []string{"0", "nameserver 192.0.2.53", "app", "to-stderr"} {
		if !strings.Contains("\n"+strings.Join(out, "\n")+"\n", "\n"+want+"\n") {
			t.Errorf("output %q lacks %q", out, want)
		}
	}
	at, err := store.Clone(t.Context(), img.Key, "00000000-0000-4000-8000-000000000001", zfssync.CloneOptions{Volatile: true})
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := os.ReadFile(at + "/greeting"); err != nil || string(raw) != "hello world\n" {
		t.Errorf("greeting: %q, %v", raw, err)
	}
	for p, uid := range map[string]uint32{"/greeting": 0, "/opt/app.sh": 0, "/opt": 0, "/mine": 33} {
		info, err := os.Stat(at + p)
		if err != nil || info.Sys().(*syscall.Stat_t).Uid != uid {
			t.Errorf("%s: %v, %v, want owner %d on disk", p, info, err, uid)
		}
	}
	for _, p := range []string{"/etc/resolv.conf", "/usr"} {
		if _, err := os.Lstat(at + p); !os.IsNotExist(err) {
			t.Errorf("%s was committed: %v", p, err)
		}
	}
	have, err := store.Image(img.Key)
	if err != nil || have.Env[0] != "GREETING=hello world" || have.Command[0] != "/opt/app.sh" || have.Layers != 4 {
		t.Errorf("image: %+v, %v", have, err)
	}
}

func TestRealFailingStepLeavesNothing(t *testing.T) {
	b, store := realBuilder(t)
	img := image(t, "bad", busyboxTar(t), "RUN echo kept > /kept", "RUN seq 1 30 && echo oops >&2 && exit 7")
	_, err := b.Build(t.Context(), Request{Image: img}, nil)
	step, ok := errors.AsType[*StepError](err)
	if !ok || step.Code != 7 || step.Line != 3 || len(step.Tail) != 20 || step.Tail[19] != "oops" {
		t.Fatalf("got %+v, %v", step, err)
	}
	l, err := store.List(t.Context())
	if err != nil || len(l.Leftovers) != 0 || len(l.Images) != 0 || len(l.Layers) != 2 {
		t.Errorf("left: %+v, %v; want the base and the good step", l, err)
	}
	if e, _ := os.ReadDir(b.c.Dir); len(e) != 0 {
		t.Errorf("scratch: %v", e)
	}
	missing := image(t, "bad", busyboxTar(t), "RUN no-such-command")
	_, err = b.Build(t.Context(), Request{Image: missing}, nil)
	if step, ok := errors.AsType[*StepError](err); !ok || step.Code != 127 {
		t.Errorf("command not found: %v", err)
	}
}

func TestRealWarmRebuildOfTenSteps(t *testing.T) {
	b, _ := realBuilder(t)
	lines := []string{}
	for i := range 10 {
		lines = append(lines, fmt.Sprintf("RUN echo %d > /step%d", i, i))
	}
	base := busyboxTar(t)
	img := image(t, "ten", base, lines...)
	begin := time.Now()
	if _, err := b.Build(t.Context(), Request{Image: img}, nil); err != nil {
		t.Fatal(err)
	}
	cold := time.Since(begin)
	same, err := b.Build(t.Context(), Request{Image: img}, nil)
	if err != nil || same.StepsCached != 10 {
		t.Fatalf("again: %+v, %v", same, err)
	}
	img.Command = []string{"/bin/sh"} // another image on the same ten layers
	warm, err := b.Build(t.Context(), Request{Image: seal(t, img)}, nil)
	if err != nil || warm.StepsCached != 10 || warm.StepsRun != 0 {
		t.Fatalf("warm: %+v, %v", warm, err)
	}
	t.Logf("ten steps: cold %v, image there %v, layers there %v", cold.Round(time.Millisecond), same.Took, warm.Took)
}
