package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestTheServiceManagerIsTold plays systemd: it listens on the socket.
func TestTheServiceManagerIsTold(t *testing.T) {
	dir := t.TempDir()
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	t.Setenv("NOTIFY_SOCKET", filepath.Join(dir, "notify"))
	t.Setenv("WATCHDOG_USEC", "20000")
	t.Setenv("WATCHDOG_PID", "")
	hear := func() string {
		if err := manager.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 512)
		n, err := manager.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	api, err := net.Listen("unix", filepath.Join(dir, "rexcarcer.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	d := &daemon{o: options{RunDir: dir, Name: "h"}, m: &member{cluster: "rc-1"}, ready: make(chan struct{}), log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.runNotify(ctx) }()
	close(d.ready)
	if got := hear(); !strings.HasPrefix(got, "READY=1\n") {
		t.Errorf("first it says %q", got)
	}
	for range 3 {
		if got := hear(); got != "WATCHDOG=1" {
			t.Errorf("then it says %q", got)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for got := hear(); got != "STOPPING=1"; got = hear() {
		if got != "WATCHDOG=1" {
			t.Fatalf("at last it says %q", got)
		}
	}
}

func TestTheWatchdogOfAnotherProcessIsNotOurs(t *testing.T) {
	t.Setenv("WATCHDOG_USEC", "1000000")
	t.Setenv("WATCHDOG_PID", "1")
	if every := watchdogEvery(); every != 0 {
		t.Errorf("it is told every %s", every)
	}
	t.Setenv("WATCHDOG_PID", "")
	if every := watchdogEvery(); every != 500*time.Millisecond {
		t.Errorf("it is told every %s, want half of a second", every)
	}
	t.Setenv("NOTIFY_SOCKET", "")
	if err := notify("READY=1"); err != nil {
		t.Errorf("without a service manager: %v", err)
	}
}

// TestSampleSettingsAreRead: every setting of the samples is one that there is.
func TestSampleSettingsAreRead(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"server.hcl", "host.hcl"} {
		c, err := readConfig(filepath.Join("../../packaging/config", name), "")
		if err != nil || c.Advertise == nil || *c.ClusterPort != clusterPort {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}
