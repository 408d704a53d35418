package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	peerName = "Nomad 1.10.5 service"
	// peerMark precedes the figure in the peer's output.
	peerMark = "PLACEMENTS_PER_CPU_SECOND "
)

// peer is Nomad's scheduler as a test binary, since its harness wants one.
type peer struct{ path string }

// buildPeer compiles test/bench/sched/nomad into path, unless it is there.
func buildPeer(ctx context.Context, path string) (*peer, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); err == nil {
		return &peer{path}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-o", path, ".")
	cmd.Dir = filepath.Join("test", "bench", "sched", "nomad")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build %s: %w: %s", peerName, err, bytes.TrimSpace(out))
	}
	return &peer{path}, nil
}

// measure lets Nomad place as many jails as we do; fewer under a spread, where
// it would take minutes.
func (p *peer) measure(ctx context.Context, sc scenario) (float64, error) {
	n := 2000
	spread := ""
	if sc.attributes != "" {
		n, spread = 100, "1"
	}
	replicas := min(sc.replicas, n)
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.path, "-test.run", "TestPeer")
	cmd.Env = append(os.Environ(), "NOMAD_TEST_LOG_LEVEL=off", "PEER_SPREAD="+spread,
		fmt.Sprintf("PEER_HOSTS=%d", sc.hosts), fmt.Sprintf("PEER_JOBS=%d", n/replicas), fmt.Sprintf("PEER_REPLICAS=%d", replicas))
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("run %s: %w", peerName, err)
	}
	_, after, ok := strings.Cut(string(out), peerMark)
	if !ok {
		return 0, fmt.Errorf("run %s: no figure in its output", peerName)
	}
	figure, _, _ := strings.Cut(after, "\n")
	return strconv.ParseFloat(strings.TrimSpace(figure), 64)
}
