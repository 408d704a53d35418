//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/api"
)

// buildLeftovers is what a build that is over may not have left.
func buildLeftovers(t *testing.T, h *host) error {
	t.Helper()
	left := append(jailThings(t, h), h.files(t)...)
	for _, dir := range []string{filepath.Join(h.data, "build"), filepath.Join(h.data, "storage", "trash")} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		for _, e := range entries {
			left = append(left, filepath.Join(dir, e.Name()))
		}
	}
	if len(left) > 0 {
		return errors.New(strings.Join(left, "\n"))
	}
	return nil // the network of builds stays as long as the daemon
}

// TestKill9AtEachStepOfABuild kills the daemon at moments that are spread over
// a whole build: base, RUN, COPY, commit, what is told to the log. The same
// command then finishes, and nothing is left half-made.
func TestKill9AtEachStepOfABuild(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.start(t)
	const moments = 6
	prepare := func(round int) string {
		dir := filepath.Join(h.dir, fmt.Sprintf("round-%d", round))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		from := filepath.Join(dir, "base") // another base each time, so that making it is a part of each build
		if out, err := exec.Command("cp", "-a", base, from).CombinedOutput(); err != nil {
			t.Fatalf("cp: %v\n%s", err, out)
		}
		rex := fmt.Sprintf("BASE %s\nRUN echo one %d >/one\nCOPY big /big\nRUN wc -c </big >/two\nENV A=%d\nRUN echo $A >/three\n", from, round, round)
		err := errors.Join(os.WriteFile(filepath.Join(dir, "kill.rex"), []byte(rex), 0o644),
			os.WriteFile(filepath.Join(dir, "big"), make([]byte, 8<<20), 0o644))
		if err != nil {
			t.Fatal(err)
		}
		return filepath.Join(dir, "kill.rex")
	}
	begin := time.Now()
	h.must(t, "image", "build", prepare(0))
	whole := time.Since(begin)
	for round := 1; round <= moments; round++ {
		rex := prepare(round)
		moment := whole * time.Duration(round) / (moments + 1)
		done := make(chan result, 1)
		go func() { done <- h.ctl("image", "build", rex) }()
		<-time.After(moment)
		h.kill(t)
		r := <-done
		h.start(t)
		poll(t, 30*time.Second, fmt.Sprintf("killed after %s of %s (%s): nothing is left of the build", moment, whole, r.stderr),
			func() error { return errors.Join(buildLeftovers(t, h), noNetworkLeft(h)) })
		if got := h.must(t, "image", "build", rex); got != "kill\n" {
			t.Errorf("round %d: build again: %q", round, got)
		}
		want := fmt.Sprintf("one %d\n%d\n%d\n", round, 8<<20, round)
		if got := h.must(t, "image", "debug", "kill", "--", "cat", "/one", "/two", "/three"); got != want {
			t.Errorf("round %d: the image holds %q, want %q", round, got, want)
		}
	}
	// A shell in an image that dies with its daemon is swept as a build is.
	go h.ctl("image", "debug", "kill", "--", "sleep", "54321")
	poll(t, 20*time.Second, "the shell runs", func() error {
		processes, err := leftProcesses(instance(h.data), h.data, h.run)
		if err == nil && !strings.Contains(strings.Join(processes, "\n"), "sleep 54321") {
			err = errors.New("not yet")
		}
		return err
	})
	h.kill(t)
	h.start(t)
	poll(t, 30*time.Second, "nothing is left of the shell", func() error { return errors.Join(buildLeftovers(t, h), noNetworkLeft(h)) })
}

// TestABuildDoesNotFillTheDisk: where images are kept is small.
func TestABuildDoesNotFillTheDisk(t *testing.T) {
	t.Parallel()
	real(t)
	small := filepath.Join(scratch, "small-disk")
	if err := os.Mkdir(small, 0o711); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=80m,mode=0711"); err != nil {
		t.Fatalf("mount a small tmpfs: %v", err)
	}
	t.Cleanup(func() { // after the daemon has ended
		if err := errors.Join(syscall.Unmount(small, syscall.MNT_DETACH), os.Remove(small)); err != nil {
			t.Error(err)
		}
	})
	h := newHost(t, "-build-min-free", "24M")
	h.data = filepath.Join(small, "data")
	h.flags[1] = h.data
	h.start(t)
	h.must(t, "image", "build", h.write(t, "fits.rex", "BASE "+base+"\nRUN echo fits >/fits\n"), "-t", "fits")
	if err := os.WriteFile(filepath.Join(h.dir, "zeros"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	// Below what makes an archive a bomb.
	if err := os.Truncate(filepath.Join(h.dir, "zeros"), 60<<20); err != nil {
		t.Fatal(err)
	}
	for what, step := range map[string]string{"run": "RUN dd if=/dev/zero of=/big bs=1M count=300; sleep 60", "copy": "COPY zeros /zeros"} {
		rex := h.write(t, what+".rex", "BASE "+base+"\nRUN echo "+what+" >/"+what+"\n"+step+"\n")
		r := h.ctl("image", "build", rex, "-t", what, "--keep")
		if r.code != 1 || !strings.Contains(r.stderr, filepath.Base(rex)+":3: "+step) || !strings.Contains(r.stderr, "-build-min-free") || strings.Contains(r.stderr, ":failed") {
			t.Errorf("%s: want the line and the cause: %s", what, r)
		}
		poll(t, 20*time.Second, "nothing is left of it", func() error { return buildLeftovers(t, h) })
		if err := os.Remove(rex); err != nil {
			t.Fatal(err)
		}
	}
	// Space is back, nothing was lost, and it goes on.
	images := decode[[]api.ImageRow](t, h, "image", "ls")
	if len(images) != 1 || images[0].Name != "fits" {
		t.Errorf("images: %+v", images)
	}
	if got := h.must(t, "image", "debug", "fits", "--", "cat", "/fits"); got != "fits\n" {
		t.Errorf("the image that was there holds %q", got)
	}
	h.must(t, "image", "build", h.write(t, "more.rex", "BASE "+base+"\nRUN echo more >/more\n"), "-t", "more")
}
