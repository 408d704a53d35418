package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// etcd is a group of three with Debian's defaults, fsync on.
type etcd struct {
	members []*exec.Cmd
	loader  string
	clients []string // their client addresses
	outputs [3]bytes.Buffer
}

func startEtcd(ctx context.Context, dir, loader string) (*etcd, error) {
	loader, err := buildLoader(ctx, loader)
	if err != nil {
		return nil, err
	}
	e := &etcd{loader: loader}
	var peers, all []string
	for i := range 3 {
		client, err := freePort()
		if err != nil {
			return nil, err
		}
		peer, err := freePort()
		if err != nil {
			return nil, err
		}
		e.clients, peers = append(e.clients, fmt.Sprintf("127.0.0.1:%d", client)), append(peers, fmt.Sprintf("http://127.0.0.1:%d", peer))
		all = append(all, fmt.Sprintf("m%d=%s", i, peers[i]))
	}
	for i, client := range e.clients {
		m := exec.Command("etcd", "--name", fmt.Sprintf("m%d", i), "--data-dir", filepath.Join(dir, fmt.Sprintf("etcd%d", i)), "--listen-client-urls", "http://"+client,
			"--advertise-client-urls", "http://"+client, "--listen-peer-urls", peers[i], "--initial-advertise-peer-urls", peers[i], "--initial-cluster", strings.Join(all, ","), "--log-level", "error")
		m.Stdout, m.Stderr = &e.outputs[i], &e.outputs[i]
		if err := m.Start(); err != nil {
			e.stop()
			return nil, fmt.Errorf("start etcd (Debian: apt-get install etcd-server etcd-client): %w", err)
		}
		e.members = append(e.members, m)
	}
	if err := wait(ctx, "etcd has a leader", func() error { _, err := e.leader(ctx); return err }); err != nil {
		e.stop()
		return nil, err
	}
	return e, nil
}

func (e *etcd) stop() {
	for _, m := range e.members {
		_ = m.Process.Kill() // its data are removed
		_ = m.Wait()
	}
}

// leader is the client address of the member that leads: writes elsewhere would make a detour.
func (e *etcd) leader(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, "etcdctl", "--endpoints", strings.Join(e.clients, ","), "endpoint", "status", "-w", "json")
	cmd.Env = append(os.Environ(), "ETCDCTL_API=3")
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("etcdctl: %w", err)
	}
	var said []struct {
		Endpoint string
		Status   struct {
			Leader uint64 `json:"leader"`
			Header struct {
				Member uint64 `json:"member_id"`
			} `json:"header"`
		}
	}
	if err := json.Unmarshal(out, &said); err != nil {
		return "", fmt.Errorf("etcdctl said what is no status: %w", err)
	}
	for _, s := range said {
		if s.Status.Leader != 0 && s.Status.Leader == s.Status.Header.Member {
			return s.Endpoint, nil
		}
	}
	return "", errors.New("nobody leads etcd")
}

// writes runs the load in a process of its own: etcd's client is no part of this module.
func (e *etcd) writes(ctx context.Context, clients int, o options) (float64, error) {
	at, err := e.leader(ctx)
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, e.loader, "-endpoint", at, "-clients", strconv.Itoa(clients), "-bytes", strconv.Itoa(o.bytes), "-seconds", fmt.Sprint(o.length.Seconds()))
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
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, ".")
	cmd.Dir = filepath.Join("test", "bench", "raft", "etcd")
	cmd.Env = append(os.Environ(), "GOFLAGS=-buildvcs=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build etcd's client: %w: %s", err, bytes.TrimSpace(out))
	}
	return path, nil
}
