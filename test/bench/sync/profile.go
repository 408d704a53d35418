//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"time"
)

// profile begins a CPU profile of this process, where dir says so.
func profile(dir, role string) (stop func(), err error) {
	if dir == "" {
		return func() {}, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.Create(filepath.Join(dir, fmt.Sprintf("%s-%d.pprof", role, os.Getpid())))
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() { pprof.StopCPUProfile(); _ = f.Close() }, nil
}

// busy is how long the machine's processors have worked, all together, since it started (proc_stat(5), in hundredths
// of a second).
func busy() time.Duration {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	var user, nice, system, idle, iowait, irq, softirq int64
	if _, err := fmt.Fscanf(bytes.NewReader(line), "cpu %d %d %d %d %d %d %d", &user, &nice, &system, &idle, &iowait, &irq, &softirq); err != nil {
		return 0
	}
	return time.Duration(user+nice+system+irq+softirq) * 10 * time.Millisecond
}

// note begins to measure; what it returns says what was measured, with a profile alone.
func (c config) note(what ...string) (end func(took time.Duration)) {
	if c.profile == "" {
		return func(time.Duration) {}
	}
	begun := busy()
	return func(took time.Duration) {
		fmt.Fprintf(os.Stderr, "%-40s %6.2f s, processors busy %6.2f s\n", strings.Join(what, " "), took.Seconds(), (busy() - begun).Seconds())
	}
}
