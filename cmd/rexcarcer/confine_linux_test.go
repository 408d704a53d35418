package main

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestAConfinedRouterServesAndStartsNothing runs itself again: a filter stays.
func TestAConfinedRouterServesAndStartsNothing(t *testing.T) {
	if os.Getenv("REX_TEST_CONFINED") == "1" {
		confined(t)
		return
	}
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "REX_TEST_CONFINED=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("%v\n%s", err, out)
	}
}

func confined(t *testing.T) {
	if err := confine(); err != nil {
		t.Fatal(err)
	}
	if err := exec.Command("/bin/true").Run(); !errors.Is(err, unix.EPERM) {
		t.Errorf("a program is started: %v", err)
	}
	if err := unix.Unshare(unix.CLONE_NEWUSER); !errors.Is(err, unix.EPERM) {
		t.Errorf("a namespace is made: %v", err)
	}
	if _, err := unix.PtracePeekData(os.Getppid(), 0, make([]byte, 8)); !errors.Is(err, unix.EPERM) {
		t.Errorf("another process is looked into: %v", err)
	}
	// What a router does goes on: sockets, files, threads.
	dir := t.TempDir()
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	done := make(chan error)
	for range 20 {
		go func() {
			c, err := net.Dial("udp", p.LocalAddr().String())
			if err == nil {
				_, err = c.Write([]byte("x"))
				c.Close()
			}
			done <- err
		}()
	}
	for range 20 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
