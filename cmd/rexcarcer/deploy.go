package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/internal/run"
)

// The deployment directory of this host: what is in it is applied, what goes
// from it is destroyed. The daemon reads no cluster file: rexctl does, in a
// process of its own, and says over a socket of its own who asks.

const (
	deployEvery = time.Second
	deployUser  = "user/deploy-dir"
	deployLimit = 30 * time.Minute // of one file: images are built
	deployAlarm = "deploy "        // begins the names of our alarms
)

// deployer watches one directory.
type deployer struct {
	d      *daemon
	dir    string
	rexctl string
	log    *slog.Logger

	memory  deployMemory
	missing map[string]int    // scans in a row without a file that was there
	last    map[string]string // size and time of each file in the last scan
}

// runDeploy keeps the cluster as the directory says, until ctx ends. Without a
// directory it only ends what alarms there are of one.
func (d *daemon) runDeploy(ctx context.Context) error {
	select {
	case <-d.ready:
	case <-ctx.Done():
		return nil
	}
	p := &deployer{d: d, dir: d.o.Site.DeployDir, log: d.log, missing: map[string]int{}, last: map[string]string{}}
	if p.dir == "" {
		p.alarm(ctx, nil)
		return nil
	}
	var err error
	if p.rexctl, err = findRexctl(ctx); err != nil {
		return err
	}
	if err := p.recall(); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.serveAPI(ctx) })
	g.Go(func() error { return p.watch(ctx) })
	return g.Wait()
}

// findRexctl is the rexctl beside this program, or that of PATH.
func findRexctl(ctx context.Context) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find own binary: %w", err)
	}
	path := filepath.Join(filepath.Dir(self), "rexctl")
	if _, err := os.Stat(path); err != nil {
		path = "rexctl"
	}
	if _, err := (run.Real{}).Run(ctx, run.Cmd{Argv: []string{path, "--help"}}); err != nil {
		return "", fmt.Errorf("-deploy-dir needs rexctl, beside %s or in PATH: %w", self, err)
	}
	return path, nil
}

// serveAPI is the local API once more, at which root is the directory.
func (p *deployer) serveAPI(ctx context.Context) error {
	l, err := listenUnix(p.socketPath())
	if err != nil {
		return err
	}
	if err := os.Chmod(p.socketPath(), 0o600); err != nil {
		return errors.Join(err, l.Close())
	}
	s, err := p.d.apiServer(func(r *http.Request) (by, role string, err error) {
		if _, role, err = api.IdentifyLocal(r); err != nil {
			return "", "", err
		}
		return deployUser, role, nil
	})
	if err != nil {
		return errors.Join(err, l.Close())
	}
	return s.Serve(ctx, l)
}

func (p *deployer) socketPath() string { return filepath.Join(p.d.o.RunDir, "deploy.sock") }

func (p *deployer) watch(ctx context.Context) error {
	tick := time.NewTicker(p.d.o.Site.DeployEvery)
	defer tick.Stop()
	for {
		alarms := p.pass(ctx)
		if ctx.Err() == nil {
			p.alarm(ctx, alarms)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// pass looks once and does what is to do. It returns the alarms there are.
func (p *deployer) pass(ctx context.Context) map[string]string {
	files, err := p.scan()
	if err != nil {
		return map[string]string{deployAlarm + "directory": oneLine(err.Error() + ": nothing is applied or destroyed")}
	}
	wished := func(name string) bool { _, ok := p.d.node.State().Wishes.Get(name); return ok }
	for _, s := range nextDeploys(files, p.memory.Files, wished, time.Now()) {
		if ctx.Err() != nil {
			return nil
		}
		if s.remove {
			p.remove(ctx, s.file)
		} else {
			p.apply(ctx, s.file, files[s.file])
		}
	}
	alarms := map[string]string{}
	for name, d := range p.memory.Files {
		if d.Error != "" {
			alarms[deployAlarm+clipName(name)] = d.Error
		}
	}
	return alarms
}

// apply applies one file.
func (p *deployer) apply(ctx context.Context, name string, f found) {
	d := p.memory.Files[name]
	if d.Sum != f.sum {
		d.Tries = 0
	}
	d.Sum, d.Gone = f.sum, false
	wish, changes, err := p.plan(ctx, name)
	if err == nil {
		err = p.mayHave(name, wish, d.Wish, changes)
	}
	if err == nil {
		// Remembered before it is done: whatever a killed daemon has begun is known as ours.
		pending := d
		pending.Wish, pending.Sum, pending.Error = wish, "", ""
		if err = p.remember(name, pending); err == nil {
			d.Wish = wish
			_, err = p.run(ctx, "apply", "--yes", "--wait=none", name)
		}
	}
	p.settle(ctx, name, d, err)
}

// mayHave refuses a file whose wish is somebody else's, or would become so.
func (p *deployer) mayHave(name, wish, before string, changes bool) error {
	for _, other := range slices.Sorted(maps.Keys(p.memory.Files)) {
		if other != name && p.memory.Files[other].Wish == wish {
			return fmt.Errorf("%s is what %s is already: remove one of them", wish, other)
		}
	}
	if before != "" && before != wish {
		return fmt.Errorf("it was %s and now says that it is %s: give the new one a file of its own", before, wish)
	}
	if w, there := p.d.node.State().Wishes.Get(wish); there && before == "" && changes {
		return fmt.Errorf("%s was applied by somebody else, from %s: rename the file, or rexctl destroy %s first", wish, w.Source, wish)
	}
	return nil
}

// plan asks what a file is and whether it changes anything.
func (p *deployer) plan(ctx context.Context, name string) (wish string, changes bool, err error) {
	out, err := p.run(ctx, "plan", "-o", "json", name)
	if err != nil {
		return "", false, err
	}
	var plan struct {
		Name  string            `json:"name"`
		Steps []json.RawMessage `json:"steps"`
	}
	if err := json.Unmarshal(out, &plan); err != nil || plan.Name == "" {
		return "", false, fmt.Errorf("rexctl plan %s says what this program does not understand: %w", name, err)
	}
	return plan.Name, len(plan.Steps) > 0, nil
}

// remove destroys what a file was that is gone.
func (p *deployer) remove(ctx context.Context, name string) {
	d := p.memory.Files[name]
	if _, there := p.d.node.State().Wishes.Get(d.Wish); there && d.Wish != "" {
		if _, err := p.run(ctx, "destroy", "--yes", "--wait=none", d.Wish); err != nil {
			d.Gone = true
			p.settle(ctx, name, d, fmt.Errorf("the file is gone, and %s cannot go: %w", d.Wish, err))
			return
		}
		p.log.Info("destroyed what a file of the deployment directory was", "file", name, "wish", d.Wish)
	}
	delete(p.missing, name)
	if err := p.forget(name); err != nil {
		p.log.Error("deployment directory", "err", err)
	}
}

// settle remembers how it went.
func (p *deployer) settle(ctx context.Context, name string, d deployed, err error) {
	switch {
	case ctx.Err() != nil:
		return // asked to end: the next start goes on
	case err != nil:
		d = d.failed(oneLine(err.Error()), time.Now())
		p.log.Warn("a file of the deployment directory", "file", name, "err", d.Error, "again", d.Next)
	default:
		d.Error, d.Tries, d.Next = "", 0, time.Time{}
		p.log.Info("applied a file of the deployment directory", "file", name, "wish", d.Wish)
	}
	if err := p.remember(name, d); err != nil {
		p.log.Error("deployment directory", "err", err)
	}
}

// run runs rexctl in the directory, as the directory.
func (p *deployer) run(ctx context.Context, args ...string) ([]byte, error) {
	res, err := run.Real{}.Run(ctx, run.Cmd{
		Argv: append([]string{p.rexctl}, args...), Dir: p.dir, CleanEnv: true, Timeout: deployLimit, Grace: 5 * time.Second,
		Env: []string{"REX_ADDR=unix://" + p.socketPath()},
	})
	if failed, ok := errors.AsType[*run.Error](err); ok && failed.RC > 0 && failed.Timeout == 0 && failed.Stderr != "" {
		return nil, errors.New(told(failed.Stderr))
	}
	return res.Stdout, err
}

// alarm makes the alarms of this host that begin as ours what want says.
func (p *deployer) alarm(ctx context.Context, want map[string]string) {
	p.d.alarms(ctx, deployAlarm, want)
}
