package jail

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// ReapOrphans waits, until ctx ends, for children that nobody else waits for: what BecomeReaper brings in beside the jails,
// such as a command whose runtime was killed. Whoever owns a child waits for it at once, so a zombie that is still there
// one period (seconds; main takes 10) later has no owner. It returns ctx's error.
func ReapOrphans(ctx context.Context, period time.Duration) error {
	seen := map[int]uint64{} // zombies of the last round, with their start time
	for {
		if err := sleep(ctx, period); err != nil {
			return err
		}
		now := map[int]uint64{}
		pids, err := children()
		if err != nil {
			return err
		}
		for _, pid := range pids {
			f, err := statFields(pid)
			if err != nil || len(f) < 20 || f[0] != "Z" {
				continue
			}
			ticks, _ := strconv.ParseUint(f[19], 10, 64)
			if t, ok := seen[pid]; !ok || t != ticks {
				now[pid] = ticks
				continue
			}
			var info unix.Siginfo
			_ = unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOHANG, nil) // ECHILD: its owner was faster
		}
		seen = now
	}
}

// children lists our child processes (proc(5), /proc/PID/task/TID/children).
func children() ([]int, error) {
	files, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		return nil, fmt.Errorf("list child processes: %w", err)
	}
	var out []int
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			continue // the thread has ended
		}
		for f := range bytes.FieldsSeq(raw) {
			if pid, err := strconv.Atoi(string(f)); err == nil {
				out = append(out, pid)
			}
		}
	}
	return out, nil
}
