//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/rexcarcer/rexcarcer/test/bench/report"
)

// podman keeps all of its state below one directory. It runs its containers by
// runc, since it has no way around crun's refusal of a hybrid layout.
type podman struct{ dir string }

func newPodman(ctx context.Context, parent, base string) (*podman, error) {
	dir, err := os.MkdirTemp(parent, "bench-podman-")
	if err != nil {
		return nil, err
	}
	p := &podman{dir}
	tar := filepath.Join(dir, "base.tar")
	if out, err := exec.CommandContext(ctx, "tar", "-C", base, "-cf", tar, ".").CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("pack the base: %w: %s", err, out), p.close())
	}
	if err := p.do(ctx, "import", tar, "bench"); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, p.start(ctx) // the first one makes the bridge
}

func (p *podman) do(ctx context.Context, args ...string) error {
	all := append([]string{"--root", filepath.Join(p.dir, "root"), "--runroot", filepath.Join(p.dir, "run"), "--tmpdir", filepath.Join(p.dir, "tmp"), "--runtime", "runc"}, args...)
	if out, err := exec.CommandContext(ctx, "podman", all...).CombinedOutput(); err != nil {
		return fmt.Errorf("podman %v: %w: %s", args, err, out)
	}
	return nil
}

func (p *podman) start(ctx context.Context) error {
	return p.do(ctx, "run", "--detach", "--network", "bridge", "--ulimit", "nofile=20000:20000", "--ulimit", "nproc=4000:4000", "bench", "/bin/sleep", "1000000")
}

func (p *podman) oneByOne(ctx context.Context, n int) (float64, error) {
	var out []float64
	for range n {
		begun := time.Now()
		if err := p.start(ctx); err != nil {
			return 0, err
		}
		out = append(out, float64(time.Since(begun))/1e6)
	}
	return report.Median(out), p.do(ctx, "rm", "--force", "--all", "--time", "0")
}

func (p *podman) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := p.do(ctx, "rm", "--force", "--all", "--time", "0")
	_ = exec.CommandContext(ctx, "ip", "link", "delete", "cni-podman0").Run() // its bridge, if it uses CNI and nobody else does
	return errors.Join(err, os.RemoveAll(p.dir))
}
