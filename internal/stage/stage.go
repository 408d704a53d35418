package stage

import (
	"fmt"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

// Start is the time at which every stage opens.
const Start = fsm.Time(1_700_000_000 * int64(time.Second))

// Stage is a State that moves on. Not safe for concurrent use.
type Stage struct {
	S   *fsm.State
	now fsm.Time
}

// New is a founded cluster without hosts.
func New() *Stage {
	st := &Stage{S: fsm.New(), now: Start}
	st.Must(fsm.Genesis{ClusterID: "cluster-stage", Domain: "rex.internal", CA: "PEM"})
	return st
}

// At moves the clock to d after Start, for the commands that follow.
func (st *Stage) At(d time.Duration) { st.now = Start.Add(d) }

// Now is the clock.
func (st *Stage) Now() fsm.Time { return st.now }

// Do folds c and returns what it changed.
func (st *Stage) Do(c fsm.Command) ([]fsm.Event, error) {
	s, happened, err := fsm.Apply(st.S, st.S.Index+1, fsm.Entry{V: fsm.Version, At: st.now, By: "stage", Cmd: c}, nil)
	st.S = s
	events := make([]fsm.Event, len(happened))
	for i := range happened {
		events[i] = happened[i].Event
	}
	return events, err
}

// Must is Do for commands that cannot be refused unless the caller is wrong.
func (st *Stage) Must(cmds ...fsm.Command) {
	for _, c := range cmds {
		if _, err := st.Do(c); err != nil {
			panic(fmt.Sprintf("stage: %s is refused: %v", c.Kind(), err))
		}
	}
}

// AddHost registers a Linux host named like its id.
func (st *Stage) AddHost(id string, cpu float64, memory int64, labels map[string]string) {
	st.Must(fsm.RegisterHost{Host: fsm.Host{
		ID: fsm.HostID(id), Name: id, Role: "server", OS: "linux", Arch: "amd64", Runtime: "linux", Version: "test",
		Labels: labels, Capacity: fsm.Resources{MilliCPU: int64(cpu * 1000), MemoryBytes: memory},
	}})
}

// Build lets hosts hold the image called name; without hosts, all of them do.
func (st *Stage) Build(name string, hosts ...string) {
	if len(hosts) == 0 {
		for id := range st.S.Hosts.All {
			hosts = append(hosts, id)
		}
	}
	for _, h := range hosts {
		st.Must(fsm.ReportBuild{Key: Key(name), Host: fsm.HostID(h), Bytes: 1})
	}
}

// Agents does on every host that is not lost what its Runs ask for: those that
// shall end end, the others get healthy. It returns how many Runs moved.
func (st *Stage) Agents() int {
	moved := 0
	for _, r := range st.S.ByHost.All {
		h, ok := st.S.Hosts.Get(string(r.Host))
		if !ok || h.State == fsm.HostLost {
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
		st.Must(c)
		moved++
	}
	for _, step := range st.S.MoveSteps() {
		st.Must(step)
		moved++
	}
	return moved
}

// Key is the Key of the image that wishes of this package call name.
func Key(name string) string {
	h := uint64(14695981039346656037)
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	return fmt.Sprintf("sha256:%064x", h)
}

// Wish is a wish for jails, with one network per name that they use and the
// images that they name.
func Wish(name string, jails []spec.Jail) spec.Wish {
	w := spec.Wish{Name: name, Source: name + ".hcl", Jails: jails}
	nets, images := map[string]bool{}, map[string]bool{}
	for i := range jails {
		j := &jails[i]
		for _, n := range j.NICs {
			if !nets[n.Network] {
				nets[n.Network] = true
				w.Networks = append(w.Networks, network(n.Network, len(w.Networks)))
			}
		}
		if !images[j.Image] {
			images[j.Image] = true
			w.Images = append(w.Images, spec.Image{Name: j.Image, Key: Key(j.Image), Base: "debian:bookworm"})
		}
	}
	w.Normalize()
	return w
}
