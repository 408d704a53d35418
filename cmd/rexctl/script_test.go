package main

import (
	"context"
	"errors"
	"flag"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/api/apitest"
	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/plan"
	"github.com/rexcarcer/rexcarcer/scheduler"
	"github.com/rexcarcer/rexcarcer/spec"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"rexctl": main})
}

// rewrite is what `make golden` sets.
var rewrite = flag.Bool("rewrite", false, "rewrite the golden files")

// TestScripts runs rexctl as a process against the real API over a real
// socket; behind it are the real fsm, scheduler and plan, and jails that are
// pretended.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", UpdateScripts: *rewrite, RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("REX_ADDR", "unix://"+filepath.Join(e.WorkDir, "rex.sock"))
			c := newCluster(e.T().(testing.TB))
			e.Values[clusterKey{}] = c
			stop, err := serve(c, filepath.Join(e.WorkDir, "rex.sock"))
			if err == nil {
				e.Defer(stop)
			}
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":  exits,
			"user":   somebodyElse,
			"meddle": meddleNext,
			"forget": forget,
			"index":  rememberIndex,
			"host":   addHost,
			"lacks":  hostLacks,
		},
	})
}

type clusterKey struct{}

func newCluster(tb testing.TB) *apitest.Cluster {
	c := apitest.NewCluster(tb, func(s *fsm.State) []fsm.Command { return scheduler.Schedule(s, s.Now).Commands })
	c.Moves = true
	return c
}

// meddling is what happens right after the next plan is made, by cluster.
var meddling sync.Map // *apitest.Cluster -> func()

// meddleNext NAME SUBNET: somebody else applies a wish right after the next plan.
func meddleNext(ts *testscript.TestScript, _ bool, args []string) {
	c := ts.Value(clusterKey{}).(*apitest.Cluster)
	meddling.Store(c, func() { applyElse(ts, c, args[0], args[1]) })
}

func serve(c *apitest.Cluster, path string) (stop func(), err error) {
	place := func(s *fsm.State) []fsm.Command { return scheduler.Schedule(s, s.Now).Commands }
	s, err := c.Server(api.Config{
		Identify: apitest.As("user/root", api.RoleRoot), // whoever runs the test
		Plan: func(s *fsm.State, w *spec.Wish) (any, error) {
			p, err := plan.Make(w, s, place)
			if f, ok := meddling.LoadAndDelete(c); ok {
				f.(func())()
			}
			return p, err
		},
		Destroy: func(s *fsm.State, name string) (any, error) { return plan.Destroy(name, s) },
		Place: func(s *fsm.State, w *spec.Wish, jail fsm.JailName) (any, error) {
			if w != nil {
				var err error
				if s, err = plan.Settled(w, s, place); err != nil {
					return nil, err
				}
			}
			return scheduler.Explain(s, jail, s.Now), nil
		},
		Guess: guess,
		Level: func(s *fsm.State, n int) any { return scheduler.Rebalance(s, s.Now, n) },
	})
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(ctx, l) // the scripts see what is wrong with it
	}()
	return func() { cancel(); <-done }, nil
}

// guess is what the daemon does for what-if.
func guess(s *fsm.State, in api.WhatIf) (any, error) {
	w := plan.WhatIf{Wish: in.Wish, Scale: in.Scale}
	for _, h := range in.Add {
		w.Add = append(w.Add, fsm.Host{ID: fsm.HostID(h.Name), Name: h.Name, Capacity: h.Capacity, Labels: h.Labels})
	}
	for _, id := range in.Lost {
		w.Lost = append(w.Lost, fsm.HostID(id))
	}
	for _, id := range in.Drain {
		w.Drain = append(w.Drain, fsm.HostID(id))
	}
	return w.Try(s, func(s *fsm.State) ([]fsm.Command, []plan.Waits) {
		d := scheduler.Schedule(s, s.Now)
		var waits []plan.Waits
		for _, u := range d.Pending {
			waits = append(waits, plan.Waits{Jail: string(u.Jail), Why: u.Why})
		}
		return d.Commands, waits
	})
}

// exits CODE COMMAND...: runs a command that must end with this code.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	var x *exec.ExitError
	switch {
	case errors.As(err, &x):
		got = x.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// somebodyElse applies a small wish NAME behind rexctl's back.
func somebodyElse(ts *testscript.TestScript, _ bool, args []string) {
	applyElse(ts, ts.Value(clusterKey{}).(*apitest.Cluster), args[0], "10.200.0.0/24")
}

func applyElse(ts *testscript.TestScript, c *apitest.Cluster, name, subnet string) {
	w := spec.Wish{Name: name, Networks: []spec.Network{{Name: name}}}
	ts.Check(w.Networks[0].Subnet.UnmarshalText([]byte(subnet)))
	w.Normalize()
	_, err := c.Log.Propose(context.Background(), "user/else", fsm.ApplyWish{Wish: w})
	ts.Check(err)
}

// addHost NAME CPU GIB [LABEL=VALUE...]: one more host joins.
func addHost(ts *testscript.TestScript, _ bool, args []string) {
	cpu, err := strconv.ParseFloat(args[1], 64)
	ts.Check(err)
	gib, err := strconv.ParseInt(args[2], 10, 64)
	ts.Check(err)
	labels := map[string]string{}
	for _, l := range args[3:] {
		k, v, _ := strings.Cut(l, "=")
		labels[k] = v
	}
	ts.Value(clusterKey{}).(*apitest.Cluster).AddHost(args[0], cpu, gib<<30, labels)
}

// hostLacks FEATURE REASON: the first host says that it lacks something.
func hostLacks(ts *testscript.TestScript, _ bool, args []string) {
	ts.Value(clusterKey{}).(*apitest.Cluster).SetFeature(apitest.HostID, args[0], "no: "+args[1])
}

// forget INDEX: events up to it are no longer kept.
func forget(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.ParseUint(args[0], 10, 64)
	ts.Check(err)
	ts.Value(clusterKey{}).(*apitest.Cluster).Log.Forget(n)
}

// rememberIndex NAME: the newest index of the log becomes a variable.
func rememberIndex(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], strconv.FormatUint(ts.Value(clusterKey{}).(*apitest.Cluster).Log.State().Index, 10))
}

// testEnv is an env in this process, for what scripts cannot do: terminals.
func testEnv(t *testing.T) *env {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rex.sock")
	stop, err := serve(newCluster(t), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	vars := map[string]string{"REX_ADDR": "unix://" + path, "HOME": t.TempDir(), "TERM": "xterm"}
	return &env{getenv: func(k string) string { return vars[k] }, stdin: os.Stdin}
}
