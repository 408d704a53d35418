package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

// selftestCommand proves on this very host that jails, networks, names,
// certificates and limits work. It needs nothing but this binary: the jails'
// only program is a copy of it.
func selftestCommand() *cli.Command {
	return &cli.Command{
		Name: "selftest", Usage: "make a scratch network and two jails, check them, and clean up",
		Description: "It starts a cluster of its own, beside whatever runs here, takes some seconds, on a slow machine some minutes, and leaves nothing. What it prints is a report;\n" +
			"the exit code is 0 when no check failed.\nExample:\n\n   rexcarcer selftest",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "v", Usage: "print what the daemon logs"},
			&cli.DurationFlag{Name: "timeout", Value: 10 * time.Minute, Usage: "give up after that"},
		},
		Action: func(c *cli.Context) error {
			ctx, cancel := context.WithTimeout(c.Context, c.Duration("timeout"))
			defer cancel()
			return selftest(ctx, c.App.Writer, c.Bool("v"))
		},
	}
}

// scratch is the cluster that is tested.
type scratch struct {
	out    io.Writer
	dir    string
	client *api.Client
	failed []string

	subnet  string
	publish int
	hosts   []api.HostRow
	jails   map[string]api.JailRow
}

func selftest(ctx context.Context, out io.Writer, verbose bool) (err error) {
	dir, err := tempDir(tempPlaces(), "rexcarcer-selftest-")
	if err != nil {
		return fmt.Errorf("selftest: %w", err)
	}
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // users of jails must get through
		return fmt.Errorf("selftest: %w", err)
	}
	o, err := scratchOptions(dir, verbose)
	if err != nil {
		return errors.Join(fmt.Errorf("selftest: %w", err), os.RemoveAll(dir))
	}
	s := &scratch{out: out, dir: dir}
	fmt.Fprintf(out, "rexcarcer %s on %s/%s\n", version, runtime.GOOS, runtime.GOARCH)
	begun := time.Now()

	run, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- runDaemon(run, o) }()
	s.check(ctx, "daemon", func(ctx context.Context) (string, error) { return s.connect(ctx, o, ended) })
	if len(s.failed) == 0 {
		s.checks(ctx)
	}
	stop()
	s.check(context.WithoutCancel(ctx), "clean up", func(context.Context) (string, error) { return s.gone(ended) })
	if len(s.failed) > 0 {
		return fmt.Errorf("selftest: failed: %s", strings.Join(s.failed, ", "))
	}
	fmt.Fprintf(out, "all is well, after %s\n", time.Since(begun).Round(100*time.Millisecond))
	return nil
}

// scratchOptions are those of `rexcarcer -dev` without any door but the local
// one, so that it disturbs no daemon of this host.
func scratchOptions(dir string, verbose bool) (o options, err error) {
	level := "error"
	if verbose {
		level = "info"
	}
	a := app()
	a.Action = func(c *cli.Context) error { o, err = optionsFrom(c); return err }
	args := []string{
		"rexcarcer", "-dev", "-data-dir", filepath.Join(dir, "data"), "-run-dir", filepath.Join(dir, "run"), "-name", "selftest", "-log-level", level,
		"-api-port", "0", "-metrics-port", "0", "-dns-port", "0", "-cluster-port", "0", "-domain", "selftest.internal",
	}
	if err := a.Run(args); err != nil {
		return o, err
	}
	if o.Runtime == "sim" {
		return o, errors.New("simulated jails prove nothing: selftest needs Linux or FreeBSD, and root")
	}
	o.quiet = !verbose
	return o, o.complete()
}

// errSkipped is a check that this host cannot have; its text says why.
type errSkipped string

func (e errSkipped) Error() string { return string(e) }

// check runs one and prints a line about it.
func (s *scratch) check(ctx context.Context, name string, do func(context.Context) (string, error)) {
	text, err := do(ctx)
	var skipped errSkipped
	switch {
	case errors.As(err, &skipped):
		fmt.Fprintf(s.out, "skip  %-12s %s\n", name, skipped)
	case err != nil:
		s.failed = append(s.failed, name)
		fmt.Fprintf(s.out, "FAIL  %-12s %v\n", name, err)
	default:
		fmt.Fprintf(s.out, "ok    %-12s %s\n", name, text)
	}
}

func (s *scratch) checks(ctx context.Context) {
	s.check(ctx, "image", s.build)
	if len(s.failed) == 0 {
		s.check(ctx, "jails", s.start)
	}
	if len(s.failed) > 0 {
		return
	}
	for _, c := range []struct {
		name string
		do   func(context.Context) (string, error)
	}{
		{"addresses", s.addresses}, {"names", s.names}, {"reach", s.reach}, {"published", s.published}, {"nat", s.nat},
		{"certificate", s.certificate}, {"limits", s.limits}, {"stop", s.stop},
	} {
		s.check(ctx, c.name, c.do)
	}
}

// connect waits until the daemon answers.
func (s *scratch) connect(ctx context.Context, o options, ended chan error) (string, error) {
	var err error
	if s.client, err = api.NewClient(api.Options{Addr: "unix://" + filepath.Join(o.RunDir, "rexcarcer.sock")}); err != nil {
		return "", err
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if s.hosts, err = s.client.Hosts(ctx); err == nil && len(s.hosts) == 1 {
			h := s.hosts[0]
			return fmt.Sprintf("%s, storage %s", h.Features["runtime"], h.Features["storage"]), nil
		}
		select {
		case end := <-ended:
			ended <- end
			return "", errors.Join(errors.New("it ended at once"), end)
		case <-ctx.Done():
			return "", errors.Join(ctx.Err(), err)
		case <-tick.C:
		}
	}
}

// gone waits for the daemon's end and looks for what it has left.
func (s *scratch) gone(ended chan error) (string, error) {
	if err := <-ended; err != nil {
		return "", err
	}
	if err := zfssync.Erase(s.dir); err != nil {
		return "", fmt.Errorf("something is still in use: %w", err)
	}
	return "nothing is left", nil
}

// start waits until both jails are healthy: a slow disk has to copy their
// roots first.
func (s *scratch) start(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Minute)
	defer cancel()
	begun, index := time.Now(), uint64(0)
	for {
		rows, at, err := s.client.JailsAfter(ctx, api.JailFilter{Wish: "selftest"}, index, time.Second)
		if err != nil {
			return "", err
		}
		index = at
		s.jails = map[string]api.JailRow{}
		healthy, state := 0, []string{}
		for _, r := range rows {
			s.jails[r.Name] = r
			state = append(state, strings.TrimSpace(fmt.Sprintf("%s is %s, %s %s", r.Name, r.Phase, r.Health, r.Reason)))
			if r.Phase == "running" && r.Health == "healthy" && len(r.Addresses) > 0 {
				healthy++
			}
		}
		if healthy == 2 {
			return fmt.Sprintf("two are healthy after %s", time.Since(begun).Round(10*time.Millisecond)), nil
		}
		if ctx.Err() != nil {
			return "", fmt.Errorf("not healthy: %s", strings.Join(state, "; "))
		}
	}
}

// inside runs one of this binary's own probes in a jail.
func (s *scratch) inside(ctx context.Context, jail string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var out, problem bytes.Buffer
	code, err := s.client.Exec(ctx, jail, api.ExecRequest{Argv: append([]string{"/bin/rexcarcer", "selftest-inside"}, args...)},
		api.ExecStreams{Stdout: &out, Stderr: &problem})
	if err != nil {
		return "", err
	}
	if code != 0 {
		return "", fmt.Errorf("in jail %s: %s", jail, strings.TrimPrefix(strings.TrimSpace(problem.String()), "rexcarcer: "))
	}
	return strings.TrimSpace(out.String()), nil
}
