// Command scale measures one server of a cluster of 1,000 simulated hosts with
// 100,000 jails: a snapshot of its State, a restart from its files, a list of
// jails over HTTP, the plan of a change to 1,000 jails, and its memory.
//
// The server is a process of its own with the real log on the real disk, the
// real API and planner. What it does not have is the hosts: their reports are
// written into the log before.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"

	"github.com/rexcarcer/rexcarcer/test/bench/report"
)

// The aims, at full size.
const (
	aimSnapshot = 2.0  // s
	aimRestart  = 30.0 // s
	aimList     = 200  // ms, p99
	aimPlan     = 1.0  // s
	aimMemory   = 1024 // MiB
)

func main() {
	hosts := flag.Int("hosts", 1000, "simulated hosts")
	jails := flag.Int("jails", 100_000, "jails, a multiple of 1,000")
	rounds := flag.Int("rounds", 3, "of each measurement")
	serve := flag.String("serve", "", "(internal) be the server of this directory")
	fill := flag.String("fill", "", "(internal) write the log into this directory")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	switch {
	case *fill != "":
		err = fillLog(ctx, *fill, *hosts, *jails)
	case *serve != "":
		err = beServer(ctx, *serve, *rounds)
	default:
		err = bench(ctx, *hosts, *jails, *rounds)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench scale:", err)
		os.Exit(1)
	}
}

// figures are what the server measures of itself.
type figures struct {
	Socket   string    `json:"socket"`
	Index    uint64    `json:"index"`
	Jails    int       `json:"jails"`
	Restart  float64   `json:"restart"`  // s, from the start of the process
	Snapshot []float64 `json:"snapshot"` // s
	Bytes    int64     `json:"bytes"`    // of the snapshot
	Plan     []float64 `json:"plan"`     // s
	Schedule []float64 `json:"schedule"` // ms
	Live     float64   `json:"live"`     // MiB that the State keeps in use

	// Processor time of the same: what others do on the machine does not count.
	RestartCPU  float64   `json:"restart_cpu"`
	SnapshotCPU []float64 `json:"snapshot_cpu"`
	PlanCPU     []float64 `json:"plan_cpu"`
}

func bench(ctx context.Context, hosts, jails, rounds int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "rex-scale-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	write := exec.CommandContext(ctx, self, "-fill", dir, "-hosts", fmt.Sprint(hosts), "-jails", fmt.Sprint(jails))
	write.Stderr = os.Stderr
	if err := write.Run(); err != nil {
		return fmt.Errorf("write the log: %w", err)
	}
	var restarts []float64
	for range rounds - 1 {
		f, err := restartOnce(ctx, self, dir)
		if err != nil {
			return err
		}
		restarts = append(restarts, f.Restart)
	}
	return measure(ctx, self, dir, jails, rounds, restarts)
}

// server is the process under test.
type server struct {
	cmd  *exec.Cmd
	out  *bufio.Reader
	stop func() error
}

func start(ctx context.Context, self, dir string, rounds int) (*server, error) {
	cmd := exec.CommandContext(ctx, self, "-serve", dir, "-rounds", fmt.Sprint(rounds))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the server: %w", err)
	}
	return &server{cmd, bufio.NewReader(out), func() error { return errors.Join(in.Close(), cmd.Wait()) }}, nil
}

// say reads what the server has measured.
func (s *server) say() (f figures, err error) {
	line, err := s.out.ReadBytes('\n')
	if err != nil {
		return f, fmt.Errorf("read from the server: %w", err)
	}
	return f, json.Unmarshal(line, &f)
}

func restartOnce(ctx context.Context, self, dir string) (figures, error) {
	s, err := start(ctx, self, dir, 0)
	if err != nil {
		return figures{}, err
	}
	f, err := s.say()
	return f, errors.Join(err, s.stop())
}

func measure(ctx context.Context, self, dir string, jails, rounds int, restarts []float64) error {
	s, err := start(ctx, self, dir, rounds)
	if err != nil {
		return err
	}
	f, err := s.say()
	if err != nil {
		return errors.Join(err, s.stop())
	}
	if f.Jails != jails {
		return errors.Join(fmt.Errorf("the server has %d jails, %d were made", f.Jails, jails), s.stop())
	}
	lists, err := lists(ctx, f.Socket)
	if err != nil {
		return errors.Join(err, s.stop())
	}
	rss, peak, err := memory(s.cmd.Process.Pid)
	if err = errors.Join(err, s.stop()); err != nil {
		return err
	}
	aims := "aim"
	rows := []report.Row{
		{Name: fmt.Sprintf("snapshot of %d jails (%d MiB)", jails, f.Bytes>>20), Unit: "s", Ours: f.Snapshot, Peer: []float64{aimSnapshot}, PeerName: aims},
		{Name: "restart, until the State is there", Unit: "s", Ours: append(restarts, f.Restart), Peer: []float64{aimRestart}, PeerName: aims},
		{Name: "plan of a change to 1,000 jails", Unit: "s", Ours: f.Plan, Peer: []float64{aimPlan}, PeerName: aims},
		{Name: "snapshot, processor time", Unit: "s", Ours: f.SnapshotCPU},
		{Name: "restart, processor time", Unit: "s", Ours: []float64{f.RestartCPU}},
		{Name: "plan, processor time", Unit: "s", Ours: f.PlanCPU},
		{Name: "State in memory", Unit: "MiB", Ours: []float64{f.Live}},
		{Name: "one pass of the scheduler, nothing to do", Unit: "ms", Ours: f.Schedule},
	}
	for _, l := range lists {
		rows = append(rows, report.Row{Name: l.name, Unit: "ms", Ours: []float64{l.p99}, Peer: []float64{aimList}, PeerName: aims},
			report.Row{Name: l.name + ", median", Unit: "ms", Ours: []float64{l.median}})
	}
	rows = append(rows,
		report.Row{Name: "server, resident after all that", Unit: "MiB", Ours: []float64{rss}, Peer: []float64{aimMemory}, PeerName: aims},
		report.Row{Name: "server, resident at most", Unit: "MiB", Ours: []float64{peak}, Peer: []float64{aimMemory}, PeerName: aims})
	if err := report.Write("scale", rows); err != nil {
		return err
	}
	for _, r := range rows {
		if len(r.Peer) > 0 && r.Ratio() < 1 {
			fmt.Printf("FELL SHORT: %s: %.3g %s, %.3g is the aim\n", r.Name, report.Median(r.Ours), r.Unit, r.Peer[0])
		}
	}
	return nil
}

func socketIn(dir string) string { return filepath.Join(dir, "rex.sock") }
