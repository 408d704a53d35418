package plan

import (
	"fmt"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

// pacedRounds is how many rounds of a rolling update are played one after the
// other, in a cluster of up to 1,000 jails; in larger ones it is fewer, since
// each looks at all jails. A longer update is finished by stopping all that is
// left at once: it ends in the same State but for the order in which hosts
// filled up.
const (
	pacedRounds = 400
	leastRounds = 3
	moreRounds  = 40 // after these
)

func paced(jails int) int { return min(pacedRounds, max(leastRounds, 1000*pacedRounds/max(1, jails))) }

// step is how far time moves in one round, so that what waits for its
// min_healthy or backoff is due in the next one.
const step = 24 * time.Hour

// dryRun plays hosts and scheduler on a State that nobody else sees.
type dryRun struct {
	s     *fsm.State
	place func(*fsm.State) []fsm.Command
}

// apply folds cmd and returns what it changed.
func (d *dryRun) apply(cmd fsm.Command) ([]fsm.Event, error) {
	s, happened, err := fsm.Apply(d.s, d.s.Index+1, fsm.Entry{V: fsm.Version, At: d.s.Now, By: "plan", Cmd: cmd}, nil)
	if err != nil {
		return nil, err
	}
	d.s = s
	events := make([]fsm.Event, len(happened))
	for i := range happened {
		events[i] = happened[i].Event
	}
	return events, nil
}

// settle plays until nothing changes: images are built, jails get healthy,
// those that shall stop stop, and the scheduler is asked again.
func (d *dryRun) settle() error {
	if d.place != nil {
		if err := d.buildAll(); err != nil {
			return err
		}
	}
	rounds := paced(d.s.Jails.Len())
	for round := range rounds + moreRounds {
		moved, err := d.agents()
		if err != nil {
			return err
		}
		cmds := d.scheduled()
		if round >= rounds {
			cmds = append(cmds, d.outdated()...)
		}
		for _, c := range cmds {
			// A Command may be refused where an earlier one of the same round
			// took its ground; the next round asks again.
			if _, err := d.apply(c); err == nil {
				moved = true
			}
		}
		if !moved {
			break
		}
	}
	return nil
}

func (d *dryRun) scheduled() []fsm.Command {
	if d.place == nil {
		return nil
	}
	later := *d.s
	later.Now = later.Now.Add(step)
	d.s = &later
	return d.place(d.s)
}

// agents reports for every host what would follow from its Runs.
func (d *dryRun) agents() (moved bool, err error) {
	for _, r := range d.s.ByHost.All {
		if d.lost(r.Host) {
			continue
		}
		c := fsm.ReportRun{Jail: r.Jail, Host: r.Host, Seq: r.Seq}
		switch {
		case r.StopWhy != "":
			c.Phase, c.Exit = fsm.Stopped, &fsm.Exit{Known: true}
		case r.Phase < fsm.Running || r.Health != fsm.HealthHealthy:
			c.Phase, c.Health = fsm.Running, fsm.HealthHealthy
		default:
			continue
		}
		if _, err := d.apply(c); err != nil {
			return false, err
		}
		moved = true
	}
	for _, step := range d.s.MoveSteps() {
		if _, err := d.apply(step); err != nil {
			return false, err
		}
		moved = true
	}
	return moved, nil
}

func (d *dryRun) lost(id fsm.HostID) bool {
	h, ok := d.s.Hosts.Get(string(id))
	return !ok || h.State == fsm.HostLost
}

// outdated stops every Run that is not of the jail as it is wished.
func (d *dryRun) outdated() []fsm.Command {
	var cmds []fsm.Command
	for name, j := range d.s.Jails.All {
		r, ok := d.s.Runs.Get(name)
		if ok && !r.Phase.Over() && r.StopWhy == "" && (r.Hash != j.Hash || r.Restart < j.Restart) {
			cmds = append(cmds, fsm.StopRun{Jail: r.Jail, Seq: r.Seq, Why: "update"})
		}
	}
	return cmds
}

// buildAll lets every host that takes jails have each image that no host has:
// apply builds what is missing before anything starts.
func (d *dryRun) buildAll() error {
	keys := map[string]bool{}
	for _, j := range d.s.Jails.All {
		key := j.Spec.ImageKey
		if b, ok := d.s.Builds.Get(key); key == "" || keys[key] || ok && len(b.Hosts) > 0 {
			continue
		}
		keys[key] = true
		for id, h := range d.s.Hosts.All {
			if h.State != fsm.HostAlive {
				continue
			}
			if _, err := d.apply(fsm.ReportBuild{Key: key, Host: fsm.HostID(id)}); err != nil {
				return err
			}
		}
	}
	return nil
}

// Settled is s as it would become with the wish applied, or as it is for nil,
// when everything that can happen has: images built, jails placed and healthy.
// place is as in Make.
func Settled(wish *spec.Wish, s *fsm.State, place func(*fsm.State) []fsm.Command) (*fsm.State, error) {
	d := &dryRun{s: s, place: place}
	if wish != nil {
		if _, err := d.apply(fsm.ApplyWish{Wish: *wish}); err != nil {
			return nil, fmt.Errorf("apply wish %s to a copy: %w", wish.Name, err)
		}
	}
	if err := d.settle(); err != nil {
		return nil, err
	}
	return d.s, nil
}
