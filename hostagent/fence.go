package hostagent

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/jail"
)

// A host that is cut off cannot know whether its jails have been started
// elsewhere. So when it has heard no leader for FenceAfter it stops those that
// must not run twice, which are all but those with fence = false; the leader
// waits for longer than that before it starts them elsewhere.

// fenceLook is how often the agent looks how long ago it heard a leader.
const fenceLook = 200 * time.Millisecond

// fencedStop is what a jail gets between TERM and KILL when it is fenced: less
// than its own stop_timeout, because another one of it is about to start.
const fencedStop = 700 * time.Millisecond

// fence watches the contact with a leader until ctx ends.
func (a *Agent) fence(ctx context.Context) {
	if a.c.Contact == nil || a.c.FenceAfter <= 0 {
		return
	}
	kept := contactFile{path: filepath.Join(a.c.RunDir, "contact")}
	begun := a.c.Clock()
	if ago, ok := kept.read(); ok {
		begun = begun.Add(-ago) // a daemon that was killed does not get the time anew
	}
	tick := time.NewTicker(fenceLook)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		last := a.c.Contact()
		if last.Before(begun) {
			last = begun // of an earlier life
		}
		if err := kept.write(a.c.Clock().Sub(last)); err != nil {
			a.c.Log.Warn("the last contact with a leader is not kept: a restart would count anew", "err", err)
		}
		now := a.c.Clock().Sub(last) > a.c.FenceAfter
		if now == a.fenced.Load() {
			continue
		}
		a.fenced.Store(now)
		a.metrics.fenced.Set(map[bool]float64{true: 1}[now])
		if now {
			a.c.Log.Error("no leader has been heard: jails that may start elsewhere are stopped", "for", a.c.FenceAfter, "last", last)
			a.fenceUnadopted(ctx)
		} else {
			a.c.Log.Info("a leader is heard again")
		}
		a.mu.Lock()
		for _, w := range a.workers {
			poke(w.wakeup)
		}
		a.mu.Unlock()
	}
}

// fenceUnadopted stops what a predecessor has left running and nobody looks
// after yet: a daemon that starts without a leader adopts nothing before it
// has heard one.
func (a *Agent) fenceUnadopted(ctx context.Context) {
	a.mu.Lock()
	adopted := a.adopted
	a.mu.Unlock()
	if adopted {
		return
	}
	rows, err := a.db.all(ctx)
	if err != nil {
		a.c.Log.Error("jails of this host's last life are not fenced", "err", err)
		return
	}
	names := map[string]fsm.JailName{}
	for _, r := range rows {
		names[jailID(r.UUID)] = r.Name
	}
	found, err := a.c.Jails.List(ctx)
	if err != nil {
		a.c.Log.Error("jails of this host's last life are not fenced", "err", err)
		return
	}
	for _, st := range found {
		j, known := a.c.Cluster.State().Jails.Get(string(names[st.ID]))
		if strings.HasPrefix(st.ID, routerPrefix) || known && j.Spec.NoFence {
			continue
		}
		if _, err := a.c.Jails.Stop(ctx, st.ID, fencedStop); err != nil {
			a.c.Log.Error("a jail is not fenced", "id", st.ID, "err", err)
		}
	}
}

// mustFence reports whether the Run of want may not go on here now.
func (a *Agent) mustFence(want Want) bool {
	return a.fenced.Load() && want.Jail != nil && want.Run != nil && !want.Jail.Spec.NoFence
}

const wasFenced = "stopped because this host had heard no leader"

// overtaken reports whether the Run that is here is not the cluster's any more:
// another one may start soon.
func (w *worker) overtaken(want Want) bool {
	return (want.Run == nil || want.Run.Seq != w.row.Seq) && (want.Jail == nil || !want.Jail.Spec.NoFence)
}

// stopInTime gives a jail its own time to stop, and no more than fencedStop once
// it must be gone because another one of it may start: that may come while it
// is being stopped.
func (w *worker) stopInTime(ctx context.Context) (jail.Status, error) {
	id := jailID(w.row.UUID)
	hurry := func() bool {
		want := WantOf(w.a.c.Cluster.State(), w.a.c.Host, w.row.Name, w.row.UUID)
		if w.a.mustFence(want) {
			w.fenced = w.row.Seq
			return true
		}
		return w.overtaken(want)
	}
	if !hurry() {
		calm, cancel := context.WithCancel(ctx)
		watched := make(chan struct{})
		late := false
		go func() {
			defer close(watched)
			for sleep(calm, fenceLook) {
				if hurry() {
					late = true
					cancel()
				}
			}
		}()
		st, err := w.a.c.Jails.Stop(calm, id, 0)
		cancel()
		<-watched
		if err == nil || !late || ctx.Err() != nil {
			return st, err
		}
	}
	return w.a.c.Jails.Stop(ctx, id, fencedStop)
}
