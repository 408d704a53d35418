package apitest

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/fsm"
)

// Cluster is a Log and a Host, and what makes wishes come true.
type Cluster struct {
	Log  *Log
	Host *Host

	// Moves lets hosts do at once what moves of jails ask of them.
	Moves bool

	tb    testing.TB
	place func(*fsm.State) []fsm.Command
}

// NewCluster founds a cluster of one host. place is the scheduler; nil places
// every jail that should run and does not.
func NewCluster(tb testing.TB, place func(*fsm.State) []fsm.Command) *Cluster {
	tb.Helper()
	l := NewLog()
	c := &Cluster{Log: l, Host: &Host{log: l, stream: make(chan string, 16)}, tb: tb, place: place}
	if place == nil {
		c.place = placeAll
	}
	c.propose("system", fsm.Genesis{ClusterID: "test-cluster", Domain: "rex.internal", CA: "-----BEGIN CERTIFICATE-----\n"})
	c.propose("host/"+string(HostID), fsm.RegisterHost{Host: fsm.Host{
		ID: HostID, Name: "dev", Role: "server", OS: "linux", Arch: "amd64", Runtime: "sim", Addr: "127.0.0.1:7372", Version: "test",
		Capacity: fsm.Resources{MilliCPU: 8000, MemoryBytes: 16 << 30},
		Labels:   map[string]string{"ssd": ""}, Features: map[string]string{"userns": "yes"},
	}})
	l.after = c.Settle
	return c
}

// AddHost registers one more simulated host, whose id is its name.
func (c *Cluster) AddHost(name string, cpu float64, memory int64, labels map[string]string) {
	c.tb.Helper()
	c.propose("host/"+name, fsm.RegisterHost{Host: fsm.Host{
		ID: fsm.HostID(name), Name: name, Role: "host", OS: "linux", Arch: "amd64", Runtime: "sim", Version: "test",
		Capacity: fsm.Resources{MilliCPU: int64(cpu * 1000), MemoryBytes: memory}, Labels: labels,
	}})
}

// SetFeature makes a registered host say something else of one feature.
func (c *Cluster) SetFeature(id fsm.HostID, feature, text string) {
	c.tb.Helper()
	h, ok := c.Log.State().Hosts.Get(string(id))
	if !ok {
		c.tb.Fatalf("no host %s", id)
	}
	features := maps.Clone(h.Features)
	if features == nil {
		features = map[string]string{}
	}
	features[feature] = text
	again := *h
	again.Features = features
	c.propose("host/"+string(id), fsm.RegisterHost{Host: again})
}

func (c *Cluster) propose(by string, cmd fsm.Command) {
	c.tb.Helper()
	if _, err := c.Log.fold(by, cmd); err != nil {
		c.tb.Errorf("%s: %v", cmd.Kind(), err)
	}
}

// Server is the API of the cluster, all of whose clients are by with role.
func (c *Cluster) Server(cfg api.Config) (*api.Server, error) {
	cfg.Log, cfg.Host, cfg.Past, cfg.Version = c.Log, c.Host, c.Log, "test"
	return api.New(cfg)
}

// As identifies everybody as by with role.
func As(by, role string) api.Identify { return fixed{by, role}.identify }

// Settle does what scheduler and agent have to do until nothing is left.
// Jails whose name begins with "sick" never become healthy, "broken" ones fail.
func (c *Cluster) Settle() {
	for range 100 { // bounded: a test must not hang
		s := c.Log.State()
		todo := c.place(s)
		for _, cmd := range todo {
			c.propose("scheduler", cmd)
		}
		n := len(todo)
		for id, h := range c.Log.State().Hosts.All {
			if h.State == fsm.HostLost {
				continue
			}
			for _, run := range c.Log.State().RunsOn(fsm.HostID(id)) {
				n += c.advance(run)
			}
		}
		if c.Moves {
			for _, step := range c.Log.State().MoveSteps() {
				c.propose("host/"+string(step.Host), step)
				n++
			}
		}
		if n == 0 {
			return
		}
	}
	c.tb.Error("apitest: the cluster does not come to rest")
}

// advance takes a Run one step further; it returns how many entries it made.
func (c *Cluster) advance(run *fsm.Run) int {
	by := "host/" + string(run.Host)
	report := fsm.ReportRun{Jail: run.Jail, Host: run.Host, Seq: run.Seq}
	switch {
	case run.StopWhy != "":
		report.Phase, report.Exit = fsm.Stopped, &fsm.Exit{Known: true}
	case run.Phase < fsm.Starting:
		report.Phase = fsm.Starting
	case run.Phase == fsm.Starting && strings.HasPrefix(string(run.Jail), "broken"):
		report.Phase, report.Exit, report.Reason = fsm.Failed, &fsm.Exit{Known: true, Code: 3}, "its process ended at once"
	case run.Phase == fsm.Starting:
		report.Phase, report.Health = fsm.Running, fsm.HealthHealthy
		if strings.HasPrefix(string(run.Jail), "sick") {
			report.Health, report.Reason = fsm.HealthUnhealthy, "tcp 127.0.0.1:80: connection refused"
		}
	default:
		return c.certify(run)
	}
	c.propose(by, report)
	return 1
}

func (c *Cluster) certify(run *fsm.Run) int {
	cert, ok := c.Log.State().Certs.Get(string(run.Jail))
	switch {
	case !ok || (cert.PEM != "" && !cert.Stale && len(cert.CSR) == 0):
		return 0
	case len(cert.CSR) == 0:
		c.propose("host/"+string(run.Host), fsm.RequestCert{Jail: run.Jail, Host: run.Host, Seq: run.Seq, CSR: []byte{1}})
	default:
		c.propose("scheduler", fsm.SetCert{
			Jail: run.Jail, CSRSeq: cert.CSRSeq, PEM: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
			Serial: fmt.Sprintf("%04x", run.Seq), NotAfter: fsm.TimeOf(Start.Add(24 * time.Hour)),
		})
	}
	return 1
}

// placeAll places what should run, in order of names.
func placeAll(s *fsm.State) []fsm.Command {
	var out []fsm.Command
	for name, j := range s.Jails.All {
		run, ran := s.Runs.Get(name)
		switch {
		case j.Want != fsm.WantRunning:
		case !ran, run.Phase.Over() && (run.StopWhy != "" || run.Hash != j.Hash):
			out = append(out, fsm.PlaceJail{Jail: fsm.JailName(name), Host: HostID, Seq: s.NextSeq(fsm.JailName(name)), Why: "the only host"})
		case !run.Phase.Over() && run.StopWhy == "" && (run.Hash != j.Hash || run.Restart != j.Restart):
			out = append(out, fsm.StopRun{Jail: fsm.JailName(name), Seq: run.Seq, Why: "it is replaced"})
		}
	}
	return out
}

// Eventually waits until ok holds.
func Eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			tb.Fatalf("%s: not after 10 s", what)
		case <-tick.C:
		}
	}
}
