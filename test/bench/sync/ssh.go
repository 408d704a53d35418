//go:build linux

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
	"strings"
	"time"
)

// remote is an sshd of this bench's own on the loopback: what goes between two
// hosts by rsync(1) or zfs(8) goes through one, encrypted and authenticated as
// ours is.
type remote struct {
	x    *exec.Cmd
	argv []string // of the client, up to the remote command
	log  bytes.Buffer
}

// newRemote starts one whose files lie in dir.
func newRemote(ctx context.Context, dir string) (*remote, error) {
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.MkdirAll("/run/sshd", 0o755)); err != nil {
		return nil, err
	}
	host, user := filepath.Join(dir, "host"), filepath.Join(dir, "user")
	for _, key := range []string{host, user} {
		if _, err := ask(ctx, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key); err != nil {
			return nil, err
		}
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	conf := fmt.Sprintf("ListenAddress 127.0.0.1:%d\nHostKey %s\nAuthorizedKeysFile %s.pub\nPidFile none\nUsePAM yes\nStrictModes no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n",
		port, host, user)
	if err := os.WriteFile(filepath.Join(dir, "conf"), []byte(conf), 0o600); err != nil {
		return nil, err
	}
	r := &remote{argv: []string{
		"ssh", "-F", "/dev/null", "-p", fmt.Sprint(port), "-i", user, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
		"-o", "LogLevel=ERROR", "-o", "BatchMode=yes",
	}}
	r.x = exec.CommandContext(ctx, "/usr/sbin/sshd", "-D", "-e", "-f", filepath.Join(dir, "conf"))
	r.x.Stderr = &r.log
	if err := r.x.Start(); err != nil {
		return nil, err
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); ; <-tick.C {
		_, err := ask(ctx, append(r.command(), "true")...)
		if err == nil {
			return r, nil
		}
		if time.Now().After(end) {
			return nil, errors.Join(err, r.stop(), fmt.Errorf("sshd: %s", r.log.String()))
		}
	}
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// command runs what follows it there.
func (r *remote) command() []string {
	return append(append([]string(nil), r.argv...), "root@127.0.0.1")
}

// rsync copies a tree there.
func (r *remote) rsync(from, to string) []string {
	return []string{"rsync", "-a", "-e", strings.Join(r.argv, " "), from + "/", "root@127.0.0.1:" + to + "/"}
}

func (r *remote) stop() error {
	err := r.x.Process.Kill()
	_ = r.x.Wait() // that it was killed
	return err
}
