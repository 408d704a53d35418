package source_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/rexcarcer/rexcarcer/internal/testenv"
	"github.com/rexcarcer/rexcarcer/zfssync/source"
)

var listening = regexp.MustCompile(`listening on (127\.0\.0\.1:[0-9]+)`)

// startRegistry runs Debian's docker-registry and returns its address.
func startRegistry(t *testing.T) string {
	t.Helper()
	program := testenv.RequireTool(t, "docker-registry")
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yml")
	write(t, config, fmt.Appendf(nil, "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: %s\nhttp:\n  addr: 127.0.0.1:0\n", dir))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	cmd := exec.CommandContext(ctx, program, "serve", config)
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was killed
		_ = w.Close()
	})
	addr := make(chan string, 1)
	go func() {
		for lines := bufio.NewScanner(r); lines.Scan(); {
			if m := listening.FindStringSubmatch(lines.Text()); m != nil {
				addr <- m[1]
			}
		}
		_, _ = io.Copy(io.Discard, r) // a line too long must not stop it
	}()
	select {
	case a := <-addr:
		return a
	case <-ctx.Done():
		t.Fatal("docker-registry does not listen")
		return ""
	}
}

func TestImageOfDebiansRegistryIsFlattened(t *testing.T) {
	t.Parallel()
	host := startRegistry(t)
	tag, err := name.ParseReference(host + "/app:latest")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, example(t)); err != nil {
		t.Fatal(err)
	}
	s, _ := newSources(t, source.Config{})
	f, err := s.Fetch(t.Context(), "oci:"+host+"/app", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, f); got != merged {
		t.Errorf("got  %s\nwant %s", got, merged)
	}
}
