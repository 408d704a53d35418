package hostagent

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/jail"
	"github.com/rexcarcer/rexcarcer/netd"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

// slowStart is after how long the cluster hears that a Run is being prepared.
const slowStart = 250 * time.Millisecond

// start makes the Run real: root, network, certificate, files, first process.
// What fails is reported as the end of this Run; the scheduler decides when
// to try the next one.
func (w *worker) start(ctx context.Context, want Want) error {
	begun := w.a.c.Clock()
	run := want.Run
	if e, ok := w.a.c.Jails.(jail.Expecter); ok {
		e.Expect()
	}
	w.exit, w.gone, w.spec = nil, false, 0
	ids, err := w.ids(ctx)
	if err != nil {
		return err
	}
	err = w.save(ctx, string(StepStart), func(r *row) {
		r.Seq, r.Stage, r.Image, r.IDs, r.Wish = run.Seq, StageMaking, rootOf(want), ids.HostBase, want.Jail.Wish
		r.Nets = strings.Join(networksOf(want.Jail), ",")
	})
	if err != nil {
		return err
	}
	// A start that is quick says only how it ended: its commit would stand in
	// the way of the certificate's.
	preparing := time.AfterFunc(slowStart, func() {
		w.reports.send(fsm.ReportRun{Jail: w.row.Name, Host: w.a.c.Host, Seq: run.Seq, Phase: fsm.Preparing})
	})
	defer preparing.Stop()
	st, err := w.make(ctx, want, ids)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return w.fail(ctx, run.Seq, err)
	}
	w.alive, w.spec, w.sshKeys = st.Phase == jail.Running, want.Jail.SpecIndex, ""
	if slices.ContainsFunc(want.Jail.Spec.Volumes, asksSnapshot) {
		if err := w.a.db.started(ctx, w.row.UUID, run.Hash); err != nil {
			return err
		}
	}
	if err := w.save(ctx, "", func(r *row) { r.Stage = StageRunning }); err != nil {
		return err
	}
	w.a.metrics.start.Observe(w.a.c.Clock().Sub(begun).Seconds())
	if !w.alive {
		w.exit = st.Exit
		return nil
	}
	w.running(ctx)
	return nil
}

// make does what start promises; it can be repeated after a crash anywhere.
func (w *worker) make(ctx context.Context, want Want, ids zfssync.IDMap) (jail.Status, error) {
	var root, netns string
	var mounts []jail.Mount
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		if root, err = w.root(gctx, want, ids); err != nil {
			return err
		}
		if err := w.snapshotBeforeChange(gctx, want); err != nil {
			return err
		}
		if mounts, err = w.volumes(gctx, want, ids); err != nil {
			return err
		}
		sockets, err := w.a.socketMounts(gctx, want)
		mounts = append(mounts, sockets...)
		return err
	})
	g.Go(func() (err error) {
		netns, err = w.attach(gctx, want)
		return err
	})
	g.Go(func() error { return w.certs.ensure(gctx, want) })
	if err := g.Wait(); err != nil {
		return jail.Status{}, err
	}
	w.row.NetNS = netns
	var err error
	if want.Start, err = w.a.startOf(want); err != nil {
		return jail.Status{}, err
	}
	if err := w.a.writeFiles(root, want, w.certs.files(ids)); err != nil {
		return jail.Status{}, err
	}
	spec, err := w.a.jailSpec(want, root, netns, mounts, ids)
	if err != nil {
		return jail.Status{}, err
	}
	st, err := w.a.c.Jails.Start(ctx, spec)
	if err != nil {
		return jail.Status{}, fmt.Errorf("start jail %s: %w", w.row.Name, err)
	}
	return st, nil
}

func (w *worker) ids(ctx context.Context) (zfssync.IDMap, error) {
	if !w.a.idmap {
		return zfssync.IDMap{}, nil
	}
	if w.row.IDs != 0 { // its range is its own as long as its row
		return zfssync.IDMap{HostBase: w.row.IDs, Size: idsPerJail}, nil
	}
	first, err := w.a.db.idRange(ctx, w.row.UUID)
	return zfssync.IDMap{HostBase: first, Size: idsPerJail}, err
}

func (w *worker) root(ctx context.Context, want Want, ids zfssync.IDMap) (string, error) {
	if err := w.a.fetch(ctx, want.Jail.Spec.Image, want.Run.Image); err != nil {
		return "", err
	}
	root, err := w.a.c.Store.Clone(ctx, want.Run.Image, w.row.UUID, zfssync.CloneOptions{IDMap: ids, Volatile: want.Jail.Spec.Ephemeral})
	if err != nil {
		return "", fmt.Errorf("clone image %s for jail %s: %w", want.Jail.Spec.Image, w.row.Name, err)
	}
	return root, nil
}

func (w *worker) volumes(ctx context.Context, want Want, ids zfssync.IDMap) ([]jail.Mount, error) {
	var out []jail.Mount
	for _, v := range want.Jail.Spec.Volumes {
		source := v.Source
		var err error
		if source == "" {
			id := VolumeOf(want.Jail.Wish, want.Jail.Spec.Name, v.Name)
			if source, err = w.a.c.Store.Volume(ctx, id, v.QuotaBytes); err != nil {
				return nil, fmt.Errorf("volume %s of jail %s: %w", v.Name, w.row.Name, err)
			}
		} else if source, err = w.a.bindSource(source); err != nil {
			return nil, fmt.Errorf("volume %s of jail %s: %w", v.Name, w.row.Name, err)
		}
		path, err := w.a.c.Store.Bind(ctx, w.row.UUID, v.Name, source, zfssync.BindOptions{ReadOnly: v.ReadOnly, IDMap: ids})
		if err != nil {
			return nil, fmt.Errorf("bind volume %s of jail %s: %w", v.Name, w.row.Name, err)
		}
		out = append(out, jail.Mount{Source: path, Target: v.Path, ReadOnly: v.ReadOnly})
	}
	return out, nil
}

func (w *worker) attach(ctx context.Context, want Want) (string, error) {
	c := netd.NSConfig{ID: shortID(w.row.UUID), Name: string(w.row.Name)}
	for i, a := range want.Jail.Addrs {
		mac, err := netd.ParseMAC(a.MAC)
		if err != nil {
			return "", fmt.Errorf("jail %s: %w", w.row.Name, err)
		}
		c.Ports = append(c.Ports, netd.Port{Network: a.Network, NIC: i, MAC: mac, Addr: a.Addr, Addr6: a.Addr6})
	}
	if err := w.a.networks.await(ctx, networksOf(want.Jail)); err != nil {
		return "", err
	}
	path, err := w.a.c.Nets.Attach(ctx, c)
	if err != nil {
		return "", fmt.Errorf("attach jail %s to its network: %w", w.row.Name, err)
	}
	return path, nil
}

func networksOf(j *fsm.Jail) []string {
	var out []string
	for _, a := range j.Addrs {
		out = append(out, a.Network)
	}
	return out
}

// fail ends the Run of seq because it could not be started.
func (w *worker) fail(ctx context.Context, seq uint64, cause error) error {
	w.log.Error("jail cannot start", "run", seq, "err", cause)
	w.exit = nil
	return errors.Join(w.release(ctx), w.finish(ctx, seq, fsm.ReportRun{Phase: fsm.Failed, Reason: cause.Error()}))
}

// update takes over in place what changed: limits and checks.
func (w *worker) update(ctx context.Context, want Want) error {
	if err := w.a.c.Jails.Update(ctx, jailID(w.row.UUID), limitsOf(want.Jail)); err != nil {
		if errors.Is(err, jail.ErrNotFound) || errors.Is(err, jail.ErrNotRunning) {
			w.alive = false
			return nil
		}
		return fmt.Errorf("change limits of jail %s: %w", w.row.Name, err)
	}
	w.spec = want.Jail.SpecIndex
	w.health.start(ctx, w.row.Seq)
	return nil
}

// stop ends the first process, and with it all of the jail.
func (w *worker) stop(ctx context.Context, want Want) error {
	if want.Run != nil && want.Run.Seq == w.row.Seq {
		w.reports.send(fsm.ReportRun{Jail: w.row.Name, Host: w.a.c.Host, Seq: w.row.Seq, Phase: fsm.Stopping, Reason: want.Run.StopWhy})
	}
	w.health.stop()
	if err := w.save(ctx, string(StepStop), nil); err != nil {
		return err
	}
	st, err := w.stopInTime(ctx)
	if err != nil {
		return fmt.Errorf("stop jail %s: %w", w.row.Name, err)
	}
	w.alive, w.exit = false, st.Exit
	return nil
}

// clean takes down what a Run that is over has left, and reports its end.
func (w *worker) clean(ctx context.Context, want Want) error {
	seq := w.row.Seq
	if seq == 0 { // stopped before it was begun
		return w.finish(ctx, want.Run.Seq, fsm.ReportRun{Phase: fsm.Stopped, Reason: "stopped before it was started"})
	}
	end := endOf(want, w.exit)
	switch {
	case w.fenced == seq:
		end = fsm.ReportRun{Phase: fsm.Lost, Reason: wasFenced}
	case w.gone && !want.Stop:
		end = fsm.ReportRun{Phase: fsm.Lost, Reason: wentDown}
	}
	if err := w.release(ctx); err != nil {
		return err
	}
	if want.Run == nil || want.Run.Seq != seq {
		return w.save(ctx, "", func(r *row) { r.Seq, r.Stage = 0, StageNone })
	}
	return w.finish(ctx, seq, end)
}

// wentDown is why a Run is lost: unlike one that failed it is replaced at
// once, whatever its restart policy.
const wentDown = "the host went down while it ran"

// finish reports the end of Run seq and waits until the cluster knows.
func (w *worker) finish(ctx context.Context, seq uint64, end fsm.ReportRun) error {
	end.Jail, end.Host, end.Seq = w.row.Name, w.a.c.Host, seq
	w.reports.send(end)
	if err := w.over(ctx, seq); err != nil {
		return err
	}
	return w.save(ctx, "", func(r *row) { r.Seq, r.Stage = 0, StageNone })
}

// release removes process state, network and mounts; the root's data stays.
func (w *worker) release(ctx context.Context) error {
	w.health.stop()
	if err := w.save(ctx, string(StepClean), func(r *row) { r.Stage = StageEnded }); err != nil {
		return err
	}
	if err := w.a.c.Jails.Remove(ctx, jailID(w.row.UUID)); err != nil {
		return fmt.Errorf("remove jail %s: %w", w.row.Name, err)
	}
	if err := w.a.c.Nets.Detach(ctx, shortID(w.row.UUID)); err != nil {
		return fmt.Errorf("detach jail %s: %w", w.row.Name, err)
	}
	if err := w.a.c.Store.Unmount(ctx, w.row.UUID); err != nil {
		return fmt.Errorf("unmount root of jail %s: %w", w.row.Name, err)
	}
	w.alive = false
	j := WantOf(w.a.c.Cluster.State(), w.a.c.Host, w.row.Name, w.row.UUID).Jail
	if j != nil && j.Spec.Ephemeral {
		return w.destroy(ctx)
	}
	return nil
}

// destroy removes the jail's root. Volumes stay.
func (w *worker) destroy(ctx context.Context) error {
	if err := w.save(ctx, string(StepDestroy), nil); err != nil {
		return err
	}
	if err := w.a.c.Store.Destroy(ctx, w.row.UUID); err != nil {
		return fmt.Errorf("destroy root of jail %s: %w", w.row.Name, err)
	}
	return w.save(ctx, "", func(r *row) { r.Image = "" })
}

// forget drops the row, and before it what outlives the root: the key and the
// log. It comes last, so a kill before it is made good at the next start.
func (w *worker) forget(ctx context.Context) error {
	log := w.a.logPath(w.row.UUID)
	if err := removeFiles(w.a.keyPath(w.row.UUID), log, log+".1", marksOf(log), marksOf(log+".1")); err != nil {
		return fmt.Errorf("forget jail %s: %w", w.row.Name, err)
	}
	if err := w.a.dropSockets(w.row.UUID); err != nil {
		return fmt.Errorf("forget jail %s: %w", w.row.Name, err)
	}
	return w.a.db.remove(ctx, w.row.UUID)
}

func (a *Agent) logPath(uuid string) string { return filepath.Join(a.c.LogDir, uuid+".log") }

func (a *Agent) keyPath(uuid string) string { return filepath.Join(a.c.Dir, "keys", uuid+".key") }
