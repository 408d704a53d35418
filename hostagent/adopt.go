package hostagent

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/jail"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

// register tells the cluster what this host can do. When it returns, State
// holds all that was committed before this start.
func (a *Agent) register(ctx context.Context) error {
	capacity, err := capacity()
	if err != nil {
		return err
	}
	os, arch := runtime.GOOS, runtime.GOARCH
	features := map[string]string{
		"runtime": a.features.Runtime, "userns": yes(a.idmap, a.c.Store.Features().IDMapReason), "cgroup": a.features.CGroup,
		"seccomp": yes(a.features.Seccomp, ""), "limits": yes(a.features.LimitsReason == "", a.features.LimitsReason), "quota": yes(a.c.Store.Features().Quota, a.c.Store.Features().QuotaReason),
		"storage": a.c.Store.Features().Driver,
	}
	err = a.propose(ctx, fsm.RegisterHost{Host: fsm.Host{
		ID: a.c.Host, Name: a.c.Name, Role: "server", State: fsm.HostAlive, OS: os, Arch: arch, Runtime: a.c.Runtime,
		Version: a.c.Version, Level: fsm.Level, Peer: a.c.Peer, Gossip: a.c.Gossip, Labels: a.c.Labels, Capacity: capacity, Features: features,
	}})
	if err != nil {
		return fmt.Errorf("register host %s: %w", a.c.Name, err)
	}
	return nil
}

func yes(ok bool, why string) string {
	if ok {
		return "yes"
	}
	if why == "" {
		return "no"
	}
	return "no: " + why
}

// adopt compares host.db and the drivers with State: what runs and is wanted
// goes on untouched, what nobody wants is removed by its worker, what has our
// mark but no row is swept.
func (a *Agent) adopt(ctx context.Context) error {
	rows, err := a.db.all(ctx)
	if err != nil {
		return err
	}
	found, err := a.c.Jails.List(ctx)
	if err != nil {
		return fmt.Errorf("list jails of this host: %w", err)
	}
	byID := map[string]jail.Status{}
	for _, st := range found {
		byID[st.ID] = st
	}
	keepNets, keepRoots, keepBuilds := []string{}, zfssync.Keep{}, map[string]bool{}
	for _, r := range rows {
		keepNets = append(keepNets, shortID(r.UUID))
		keepRoots.Jails = append(keepRoots.Jails, r.UUID)
		keepBuilds[jailID(r.UUID)] = true
	}
	for _, st := range found {
		if keepBuilds[st.ID] || strings.HasPrefix(st.ID, routerPrefix) {
			continue
		}
		a.c.Log.Info("removing a jail that nobody knows", "id", st.ID, "name", st.Name)
		if err := a.c.Jails.Remove(ctx, st.ID); err != nil {
			return fmt.Errorf("remove unknown jail %s: %w", st.ID, err)
		}
	}
	if err := a.c.Nets.Sweep(ctx, keepNets); err != nil {
		return fmt.Errorf("sweep networks: %w", err)
	}
	removed, err := a.c.Store.Sweep(ctx, keepRoots)
	if ctx.Err() != nil {
		return fmt.Errorf("sweep storage: %w", err)
	}
	if err != nil {
		// The kernel may let go of a dataset only a moment after its last user
		// was killed. Jails are not to wait for that, nor to go without a daemon.
		a.c.Log.Warn("something of an earlier life cannot be removed yet: tried again", "err", err)
		a.untidy = true
	}
	if err := a.builder.Sweep(); err != nil {
		return fmt.Errorf("sweep builds: %w", err)
	}
	if err := a.sources.Sweep(); err != nil {
		return err
	}
	close(a.swept)
	for _, what := range removed {
		a.c.Log.Info("swept", "what", what)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.adopted = true
	for _, r := range rows {
		st, ok := byID[jailID(r.UUID)]
		if ok && st.Phase == jail.Running && st.Seq == r.Seq {
			a.metrics.adopted.Inc()
			a.c.Log.Info("adopted", "jail", string(r.Name), "run", r.Seq, "pid", st.PID)
			r.Stage = StageRunning
			a.startWorker(ctx, r, &st)
			continue
		}
		a.startWorker(ctx, settle(r), exitOf(ok && st.Seq == r.Seq, st))
	}
	return nil
}

// tidy goes on with a sweep that has failed, until it has worked or ctx ends.
func (a *Agent) tidy(ctx context.Context) {
	for wait := tidyWait; sleep(ctx, wait); wait = min(2*wait, time.Minute) {
		removed, err := a.c.Store.Sweep(ctx, zfssync.Keep{AllJails: true})
		if err == nil {
			a.c.Log.Info("removed what an earlier life had left", "what", strings.Join(removed, ", "))
			return
		}
		a.c.Log.Debug("something of an earlier life cannot be removed yet", "err", err)
	}
}

const tidyWait = time.Second

// afterSweep waits until what an earlier life left is swept: the API answers
// before that, and what a build has just made looks like a leftover.
func (a *Agent) afterSweep(ctx context.Context) error {
	select {
	case <-a.swept:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait until this host is tidied up: %w", ctx.Err())
	}
}

// settle says what is left of a row whose process does not run: a Run that
// was being made goes on being made, any other has ended and is cleaned up.
func settle(r row) row {
	if r.Seq != 0 && r.Stage != StageMaking {
		r.Stage = StageEnded
	}
	return r
}

func exitOf(found bool, st jail.Status) *jail.Status {
	if !found || st.Phase == jail.Running {
		return nil
	}
	return &st
}

// Retreat stops all jails and routers of this host and takes down what they
// had, without telling the cluster: a later start finds its Runs lost and
// places them anew.
func (a *Agent) Retreat(ctx context.Context) error {
	found, err := a.c.Jails.List(ctx)
	if err != nil {
		return fmt.Errorf("list jails of this host: %w", err)
	}
	errs := make(chan error, len(found))
	for _, st := range found {
		go func() {
			_, err := a.c.Jails.Stop(ctx, st.ID, 0)
			if err == nil {
				err = a.c.Jails.Remove(ctx, st.ID)
			}
			errs <- err
		}()
	}
	for range found {
		if e := <-errs; e != nil && err == nil {
			err = fmt.Errorf("stop the jails of this host: %w", e)
		}
	}
	if err != nil {
		return err
	}
	if err := a.networks.overlay.retreat(ctx); err != nil {
		return err
	}
	if err := a.c.Nets.Teardown(ctx); err != nil {
		return fmt.Errorf("take down networks: %w", err)
	}
	if err := a.c.Store.Teardown(ctx); err != nil {
		return fmt.Errorf("unmount roots: %w", err)
	}
	return a.dropSockets("")
}
