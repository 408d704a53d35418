package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The bench's network. The relay is the host's address in it.
const (
	subnet    = "10.32.0.0/12"
	serverIP  = "10.32.0.1"
	clientIP  = "10.32.0.2"
	poolFirst = "10.32.1.0"
	poolLast  = "10.47.255.254"
	machines  = 500_000
)

// wire is two namespaces with a link between them.
type wire struct {
	dir            string
	server, client string
	base           int // of the MAC addresses of the next measurement
}

func newWire(ctx context.Context) (*wire, error) {
	dir, err := os.MkdirTemp("/var/tmp", "bench-dhcp-")
	if err != nil {
		return nil, err
	}
	w := &wire{dir: dir, server: fmt.Sprintf("rexdhcps%d", os.Getpid()), client: fmt.Sprintf("rexdhcpc%d", os.Getpid())}
	for _, line := range []string{
		"ip netns add " + w.server, "ip netns add " + w.client,
		"ip -n " + w.server + " link add lan type veth peer name eth0 netns " + w.client,
		"ip -n " + w.server + " addr add " + serverIP + "/12 dev lan", "ip -n " + w.client + " addr add " + clientIP + "/12 dev eth0",
		"ip -n " + w.server + " link set lan up", "ip -n " + w.server + " link set lo up",
		"ip -n " + w.client + " link set eth0 up", "ip -n " + w.client + " link set lo up",
	} {
		if out, err := exec.CommandContext(ctx, "sh", "-c", line).CombinedOutput(); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w: %s", line, err, out), w.close())
		}
	}
	return w, nil
}

func (w *wire) close() error {
	for _, ns := range []string{w.server, w.client} {
		_ = exec.Command("ip", "netns", "del", ns).Run() // also one that was not made
	}
	return os.RemoveAll(w.dir)
}

// side is one server.
type side struct {
	name      string
	low, step int // exchanges/s: where the search begins, and how fine it is
	argv      func(dir string) ([]string, error)
}

// started is a server that runs.
type started struct {
	cmd *exec.Cmd
	log string
}

func (w *wire) start(ctx context.Context, s side, more ...string) (*started, error) {
	dir, err := os.MkdirTemp(w.dir, s.name+"-")
	if err != nil {
		return nil, err
	}
	argv, err := s.argv(dir)
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	argv = append(append([]string{"netns", "exec", w.server}, argv...), more...)
	cmd := exec.CommandContext(ctx, "ip", argv...)
	cmd.Env = append(os.Environ(), "KEA_PIDFILE_DIR="+dir, "KEA_LOCKFILE_DIR=none")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	x := &started{cmd, log.Name()}
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		if _, err := w.perf(ctx, 0, 0); err == nil {
			return x, nil
		}
		if time.Now().After(deadline) || cmd.ProcessState != nil {
			text, _ := os.ReadFile(x.log)
			return nil, errors.Join(fmt.Errorf("%s does not answer: %s", s.name, text), x.stop())
		}
	}
}

func (x *started) stop() error {
	if err := x.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	kill := time.AfterFunc(20*time.Second, func() { _ = x.cmd.Process.Kill() })
	defer kill.Stop()
	_ = x.cmd.Wait() // ended by a signal
	return nil
}

// loss is what one run of perfdhcp says: exchanges/s, and the worse of the
// drop ratios of its two halves, in percent.
type loss struct{ rate, percent float64 }

// perf asks at a rate for some seconds; at rate 0 some times.
func (w *wire) perf(ctx context.Context, rate, seconds int) (loss, error) {
	argv := []string{"netns", "exec", w.client, "perfdhcp", "-4", "-l", clientIP}
	if rate == 0 {
		argv = append(argv, "-R", "100", "-p", "1", "-r", "20", "-W", "1000000") // it ends before the last answer without -W
	} else {
		w.base++
		argv = append(argv, "-r", strconv.Itoa(rate), "-R", strconv.Itoa(machines), "-p", strconv.Itoa(seconds), "-W", "1000000",
			"-b", fmt.Sprintf("mac=00:0c:%02x:00:00:00", w.base%256))
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(seconds+30)*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ip", append(argv, serverIP)...).CombinedOutput()
	if code := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &code) || code.ExitCode() != 3) { // 3: some were lost
		return loss{}, fmt.Errorf("perfdhcp: %w: %s", err, out)
	}
	return readLoss(string(out), seconds)
}

// readLoss reads both halves of the report: DISCOVER to OFFER, REQUEST to ACK.
func readLoss(text string, seconds int) (loss, error) {
	var l loss
	halves := 0
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), ":")
		value = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "%"))
		number, err := strconv.ParseFloat(value, 64)
		switch {
		case !ok || name != "received packets" && name != "drops ratio":
		case err != nil:
			return l, fmt.Errorf("perfdhcp: %s %q: %w", name, value, err)
		case name == "received packets": // the last one is of the second half
			l.rate = number / float64(max(seconds, 1))
		default:
			l.percent = max(l.percent, number)
			halves++
		}
	}
	if halves != 2 || l.percent == 100 {
		return l, fmt.Errorf("perfdhcp: no exchange in:\n%s", text)
	}
	return l, nil
}

// best is the highest rate that was served with less than 1 % loss, in
// exchanges/s, and what the server's processor time an exchange was then, in µs.
type best struct{ rate, cpu float64 }

// search looks for it.
func (w *wire) search(ctx context.Context, s side, seconds int) (b best, err error) {
	x, err := w.start(ctx, s)
	if err != nil {
		return b, err
	}
	defer func() { err = errors.Join(err, x.stop()) }()
	low, high := 0, 0
	for rate := s.low; high == 0 || high-low > s.step; {
		before := cpuOf(x.cmd.Process.Pid)
		l, err := w.perf(ctx, rate, seconds)
		if ctx.Err() != nil {
			return b, ctx.Err()
		}
		cpu := (cpuOf(x.cmd.Process.Pid) - before).Seconds() * 1e6 / max(l.rate*float64(seconds), 1)
		fmt.Fprintf(os.Stderr, "  %s at %d/s: %.0f/s, %.2f%% lost, %.0f µs of processor an exchange\n", s.name, rate, l.rate, l.percent, cpu)
		if err == nil && l.percent < 1 {
			low = rate
			if l.rate > b.rate {
				b = best{l.rate, cpu}
			}
		} else {
			high = rate
		}
		switch {
		case high != 0:
			rate = (low + high) / 2
		case l.rate < float64(rate)*7/10: // perfdhcp itself can ask no faster
			return b, nil
		default:
			rate = rate * 3 / 2
		}
	}
	return b, nil
}

// cpuOf is the processor time of a process so far, 0 for one that is gone.
func cpuOf(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0
	}
	var ticks int64
	for _, field := range f[11:13] { // utime and stime, see proc(5), in ticks of 10 ms
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
