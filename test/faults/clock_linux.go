package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const year = 365 * 24 * time.Hour

// clockVar shifts the clock of a daemon that shifted has built, by seconds.
const clockVar = "FAULTS_CLOCK_SHIFT"

// clock starts a follower again with a clock that is off. A time namespace has no real-time clock, and a preloaded
// library is of no use in a static binary: so the daemon is built once more with a time.Now that adds a shift.
// Its certificates are not of the others' time, so it stays alone; it must not lead, and must be a member again when its clock is right.
func clock(by time.Duration) func(context.Context, *lab) (func(context.Context) error, error) {
	return func(ctx context.Context, l *lab) (func(context.Context) error, error) {
		program, err := l.shifted(ctx)
		if err != nil {
			return nil, err
		}
		h, err := l.victim(ctx)
		if err == nil {
			err = h.kill()
		}
		if err != nil {
			return nil, err
		}
		right := h.program
		h.program, h.env = program, []string{clockVar + "=" + strconv.Itoa(int(by.Seconds()))}
		return func(ctx context.Context) error {
			leads, _, err := l.leader(ctx, l.all[0])
			if err == nil && leads == h {
				err = fmt.Errorf("%s leads, whose clock is off by %s", h.name, by)
			}
			l.say("%s, whose clock is off, says: %s", h.name, h.tail(1))
			h.program, h.env = right, nil
			return errors.Join(err, h.kill(), h.start())
		}, h.start()
	}
}

// shifted builds the daemon with another time.Now, by `go build -overlay`.
func (l *lab) shifted(ctx context.Context) (string, error) {
	out := filepath.Join(l.dir, "rexcarcer-shifted")
	if _, err := os.Stat(out); err == nil {
		return out, nil
	}
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("find Go: %w", err)
	}
	source := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	text, err := os.ReadFile(filepath.Join(source, "time.go"))
	if err != nil {
		return "", err
	}
	const before = "sec, nsec, mono := runtimeNow()"
	if !strings.Contains(string(text), before) {
		return "", errors.New("time.Now of this Go is another than this test knows")
	}
	patched, added := filepath.Join(l.dir, "time.go.txt"), filepath.Join(l.dir, "shift.go.txt")
	const shift = "package time\n\nimport \"syscall\"\n\nvar clockShift = func() int64 {\n\ttext, _ := syscall.Getenv(\"" + clockVar + "\")\n\tn, _ := atoi(text)\n\treturn int64(n)\n}()\n"
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(source, "time.go"): patched, filepath.Join(source, "shift.go"): added}})
	file := filepath.Join(l.dir, "overlay.json")
	err = errors.Join(err,
		os.WriteFile(patched, []byte(strings.Replace(string(text), before, before+"\n\tsec += clockShift", 1)), 0o644),
		os.WriteFile(added, []byte(shift), 0o644), os.WriteFile(file, overlay, 0o644))
	if err != nil {
		return "", err
	}
	l.say("the daemon is built with a clock that can be off")
	build := exec.CommandContext(ctx, "go", "build", "-overlay", file, "-tags=hashicorpmetrics", "-buildvcs=false", "-o", out, "./cmd/rexcarcer")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the daemon with another clock: %w: %s", err, said)
	}
	return out, nil
}
