package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	portOurs    = 15300
	portCoreDNS = 15301
	portUnbound = 15302
	portNSD     = 15303
)

// server is one of those that are measured: a process, with those that it starts.
type server struct {
	name   string
	port   int
	cmd    *exec.Cmd
	output *bytes.Buffer
}

// start runs argv until it answers on port over TCP.
func start(ctx context.Context, name, host string, port int, argv ...string) (*server, error) {
	s := &server{name: name, port: port, cmd: exec.Command(argv[0], argv[1:]...), output: &bytes.Buffer{}}
	s.cmd.Stdout, s.cmd.Stderr = s.output, s.output
	s.cmd.SysProcAttr = parentDeath()
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort(host, strconv.Itoa(port)), time.Second)
		if err == nil {
			return s, conn.Close()
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			err = errors.Join(fmt.Errorf("%s does not answer: %w", s.name, err), s.stop())
			return nil, fmt.Errorf("%w\n%s", err, s.output)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// stop ends the process as Ctrl-C would.
func (s *server) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGINT); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", s.name, err)
	}
	_ = s.cmd.Wait() // how it ends is of no interest
	return nil
}

// cpu is the processor time of the server so far, all processes of its group
// together: user and system, from /proc/PID/stat in ticks of 10 ms.
func (s *server) cpu() (time.Duration, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	group, ticks := strconv.Itoa(s.cmd.Process.Pid), 0
	for _, path := range stats {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
		if len(fields) < 13 || fields[2] != group {
			continue
		}
		user, errU := strconv.Atoi(fields[11])
		system, errS := strconv.Atoi(fields[12])
		if err := errors.Join(errU, errS); err != nil {
			return 0, err
		}
		ticks += user + system
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

type result struct{ rate, perCPU float64 }

var (
	reRate      = regexp.MustCompile(`Queries per second:\s+([0-9.]+)`)
	reCompleted = regexp.MustCompile(`Queries completed:\s+(\d+) \(([0-9.]+)%\)`)
	reCodes     = regexp.MustCompile(`Response codes:\s+NOERROR (\d+) \(100\.00%\)`)
	reLatency   = regexp.MustCompile(`(?m)^> NOERROR \S+ \S+ ([0-9.]+)`)
)

// measure lets dnsperf ask as fast as s answers.
func measure(ctx context.Context, s *server, queries string, seconds int) (result, error) {
	before, err := s.cpu()
	if err != nil {
		return result{}, err
	}
	out, err := dnsperf(ctx, s, queries, seconds)
	if err != nil {
		return result{}, err
	}
	after, err := s.cpu()
	if err != nil {
		return result{}, err
	}
	rate, completed := reRate.FindSubmatch(out), reCompleted.FindSubmatch(out)
	if rate == nil || completed == nil || !reCodes.Match(out) {
		return result{}, fmt.Errorf("dnsperf on %s: not all answers are NOERROR:\n%s", s.name, out)
	}
	if percent, err := strconv.ParseFloat(string(completed[2]), 64); err != nil || percent < 99.9 {
		return result{}, fmt.Errorf("dnsperf on %s lost too many answers:\n%s", s.name, out)
	}
	perSecond, errRate := strconv.ParseFloat(string(rate[1]), 64)
	total, errTotal := strconv.ParseFloat(string(completed[1]), 64)
	return result{rate: perSecond, perCPU: total / (after - before).Seconds()}, errors.Join(errRate, errTotal)
}

// measureLatency is the 99th percentile in microseconds while 20,000 queries
// a second are asked.
func measureLatency(ctx context.Context, s *server, queries string, seconds int) (float64, error) {
	out, err := dnsperf(ctx, s, queries, seconds, "-Q", "20000", "-v")
	if err != nil {
		return 0, err
	}
	var all []float64
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		if m := reLatency.FindSubmatch(lines.Bytes()); m != nil {
			latency, err := strconv.ParseFloat(string(m[1]), 64)
			if err != nil {
				return 0, err
			}
			all = append(all, latency*1e6)
		}
	}
	if len(all) < 1000 {
		return 0, fmt.Errorf("dnsperf on %s printed %d latencies", s.name, len(all))
	}
	slices.Sort(all)
	return all[len(all)*99/100], nil
}

func dnsperf(ctx context.Context, s *server, queries string, seconds int, more ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(seconds)*time.Second+30*time.Second)
	defer cancel()
	args := append([]string{"-s", "127.0.0.1", "-p", strconv.Itoa(s.port), "-d", queries, "-c", "16", "-T", "1", "-q", "200", "-l", strconv.Itoa(seconds),
		"-e", "-E", "10:0123456789abcdef"}, more...) // EDNS, and a client's cookie
	cmd := exec.CommandContext(ctx, "dnsperf", args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("dnsperf %s: %w\n%.2000s", strings.Join(args, " "), err, out)
	}
	return out, nil
}
