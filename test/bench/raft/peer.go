package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	etcdPort     = 23790
	etcdPeerPort = 23800
)

// etcd is a server of one member with Debian's defaults, fsync on.
type etcd struct {
	cmd    *exec.Cmd
	output bytes.Buffer
	loader string
	addr   string
}

func startEtcd(ctx context.Context, dir, loader string) (*etcd, error) {
	loader, err := buildLoader(ctx, loader)
	if err != nil {
		return nil, err
	}
	client, peer := fmt.Sprintf("http://127.0.0.1:%d", etcdPort), fmt.Sprintf("http://127.0.0.1:%d", etcdPeerPort)
	e := &etcd{loader: loader, addr: fmt.Sprintf("127.0.0.1:%d", etcdPort)}
	e.cmd = exec.Command("etcd", "--name", "bench", "--data-dir", filepath.Join(dir, "etcd"), "--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "bench="+peer, "--log-level", "error")
	e.cmd.Stdout, e.cmd.Stderr = &e.output, &e.output
	e.cmd.SysProcAttr = parentDeath()
	if err := e.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start etcd (Debian: apt-get install etcd-server): %w", err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if c, err := net.DialTimeout("tcp", e.addr, time.Second); err == nil {
			return e, c.Close()
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return nil, errors.Join(fmt.Errorf("etcd does not answer: %s", e.output.String()), e.stop())
		}
	}
}

func (e *etcd) stop() error {
	if err := e.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop etcd: %w", err)
	}
	_ = e.cmd.Wait() // how it ends is of no interest
	return nil
}

// measure runs the load in a process of its own: etcd's client is no part of this module.
func (e *etcd) measure(ctx context.Context, clients, size int, length time.Duration) (float64, error) {
	cmd := exec.CommandContext(ctx, e.loader, "-endpoint", e.addr, "-clients", strconv.Itoa(clients), "-bytes", strconv.Itoa(size),
		"-seconds", fmt.Sprint(length.Seconds()))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("load on etcd: %w: %s", err, stderr.Bytes())
	}
	return strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
}

// buildLoader compiles test/bench/raft/etcd into path, unless it is there.
func buildLoader(ctx context.Context, path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, ".")
	cmd.Dir = filepath.Join("test", "bench", "raft", "etcd")
	cmd.Env = append(os.Environ(), "GOFLAGS=-buildvcs=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build etcd's client: %w: %s", err, bytes.TrimSpace(out))
	}
	return path, nil
}
