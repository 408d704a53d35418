package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
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

// dryRun plays hosts and scheduler on a State that nobody else sees. A cluster
// may have 100,000 jails where a wish changes ten, so after one look at all it
// looks only at what its own commands changed.
type dryRun struct {
	s     *fsm.State
	place func(*fsm.State) []fsm.Command

	due     map[fsm.JailName]bool // Runs that an agent may have to report
	runs    map[string]bool       // jails whose Run is another than at the start
	records map[string]bool       // keys of records that are others, or were for a while
	stale   map[string]bool       // jails whose Run is of an older declaration; nil: not looked for yet
}

// begin looks at all Runs of s, once.
func begin(s *fsm.State, place func(*fsm.State) []fsm.Command) *dryRun {
	d := &dryRun{s: s, place: place, due: map[fsm.JailName]bool{}, runs: map[string]bool{}, records: map[string]bool{}}
	for r := range s.Runs.Values {
		if !r.Phase.Over() && unsettled(r) {
			d.due[r.Jail] = true
		}
	}
	return d
}

// twin is d at its beginning once more.
func (d *dryRun) twin() *dryRun {
	return &dryRun{s: d.s, place: d.place, due: maps.Clone(d.due), runs: map[string]bool{}, records: map[string]bool{}}
}

// apply folds cmd and returns what it changed.
func (d *dryRun) apply(cmd fsm.Command) ([]fsm.Event, error) {
	events, errs := d.applyAll([]fsm.Command{cmd})
	return events, errs[0]
}

// applyAll folds cmds in one go. Each is refused or not by itself.
func (d *dryRun) applyAll(cmds []fsm.Command) (events []fsm.Event, errs []error) {
	if len(cmds) == 0 {
		return nil, nil
	}
	items := make([]fsm.Item, len(cmds))
	for i, c := range cmds {
		items[i] = fsm.Item{Index: d.s.Index + 1 + uint64(i), Entry: fsm.Entry{V: fsm.Version, At: d.s.Now, By: "plan", Cmd: c}}
	}
	s, happened, errs := fsm.ApplyAll(d.s, items)
	d.s = s
	for _, of := range happened {
		for i := range of {
			d.note(of[i].Event)
			events = append(events, of[i].Event)
		}
	}
	return events, errs
}

// note keeps in mind what an Event changed.
func (d *dryRun) note(e fsm.Event) {
	run := func(r *fsm.Run) { d.due[r.Jail], d.runs[string(r.Jail)] = true, true }
	switch e := e.(type) {
	case fsm.JailPlaced:
		run(e.Run)
	case fsm.RunStopping:
		run(e.Run)
	case fsm.RunReported:
		run(e.Run)
	case fsm.JailRemoved:
		d.runs[string(e.Name)] = true
	case fsm.RecordAdded:
		d.records[fsm.RecordKey(e.Record)] = true
	case fsm.RecordRemoved:
		d.records[fsm.RecordKey(e.Record)] = true
	}
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
		// A Command may be refused where an earlier one of the same round
		// took its ground; the next round asks again.
		_, errs := d.applyAll(cmds)
		if !moved && !slices.Contains(errs, nil) {
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
	var cmds []fsm.Command
	for _, r := range d.toReport() {
		c := fsm.ReportRun{Jail: r.Jail, Host: r.Host, Seq: r.Seq, Phase: fsm.Running, Health: fsm.HealthHealthy}
		if r.StopWhy != "" {
			c.Phase, c.Health, c.Exit = fsm.Stopped, "", &fsm.Exit{Known: true}
		}
		cmds = append(cmds, c)
	}
	clear(d.due)
	_, errs := d.applyAll(cmds)
	if err := firstError(errs); err != nil {
		return false, err
	}
	steps := d.s.MoveSteps()
	for _, step := range steps {
		if _, err := d.apply(step); err != nil {
			return false, err
		}
	}
	return len(cmds)+len(steps) > 0, nil
}

// toReport are the Runs that are not at rest and whose host is there, by host
// and jail.
func (d *dryRun) toReport() []*fsm.Run {
	var runs []*fsm.Run
	for name := range d.due {
		if r := d.s.LiveRun(name); r != nil && unsettled(r) && !d.lost(r.Host) {
			runs = append(runs, r)
		}
	}
	slices.SortFunc(runs, func(a, b *fsm.Run) int { return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Jail, b.Jail)) })
	return runs
}

// unsettled reports whether an agent has something to say about r.
func unsettled(r *fsm.Run) bool {
	return r.StopWhy != "" || r.Phase < fsm.Running || r.Health != fsm.HealthHealthy
}

func firstError(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *dryRun) lost(id fsm.HostID) bool {
	h, ok := d.s.Hosts.Get(string(id))
	return !ok || h.State == fsm.HostLost
}

// outdated stops every Run that is not of the jail as it is wished.
func (d *dryRun) outdated() []fsm.Command {
	if d.stale == nil {
		d.stale = map[string]bool{}
		for name, j := range d.s.Jails.All {
			if r, ok := d.s.Runs.Get(name); ok && isStale(j, r) {
				d.stale[name] = true
			}
		}
	}
	maps.Copy(d.stale, d.runs)
	var cmds []fsm.Command
	for _, name := range slices.Sorted(keys(d.stale)) {
		j, there := d.s.Jails.Get(name)
		r, ran := d.s.Runs.Get(name)
		if there && ran && isStale(j, r) {
			cmds = append(cmds, fsm.StopRun{Jail: r.Jail, Seq: r.Seq, Why: "update"})
		}
	}
	return cmds
}

func isStale(j *fsm.Jail, r *fsm.Run) bool {
	return !r.Phase.Over() && r.StopWhy == "" && (r.Hash != j.Hash || r.Restart < j.Restart)
}

// buildAll lets every host that takes jails have each image that no host has:
// apply builds what is missing before anything starts.
func (d *dryRun) buildAll() error {
	seen := map[string]bool{"": true}
	last := ""
	var cmds []fsm.Command
	for j := range d.s.Jails.Values {
		key := j.Spec.ImageKey
		if key == last || seen[key] {
			continue
		}
		last, seen[key] = key, true
		if b, ok := d.s.Builds.Get(key); ok && len(b.Hosts) > 0 {
			continue
		}
		for id, h := range d.s.Hosts.All {
			if h.State == fsm.HostAlive {
				cmds = append(cmds, fsm.ReportBuild{Key: key, Host: fsm.HostID(id)})
			}
		}
	}
	_, errs := d.applyAll(cmds)
	return firstError(errs)
}

// Settled is s as it would become with the wish applied, or as it is for nil,
// when everything that can happen has: images built, jails placed and healthy.
// place is as in Make.
func Settled(wish *spec.Wish, s *fsm.State, place func(*fsm.State) []fsm.Command) (*fsm.State, error) {
	d := begin(s, place)
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

// union are the keys of both, sorted.
func union(a, b map[string]bool) []string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return slices.Sorted(keys(all))
}
