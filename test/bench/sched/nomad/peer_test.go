// Package nomad measures Nomad's own scheduler package on the clusters of
// test/bench/sched, in one call of its service scheduler.
package nomad

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/nomad/nomad/mock"
	"github.com/hashicorp/nomad/nomad/structs"
	"github.com/hashicorp/nomad/scheduler"
)

// TestPeer prints placements per second of processor time on stdout:
//
//	PEER_HOSTS=1000 PEER_JOBS=10 PEER_REPLICAS=500 PEER_SPREAD=1 nomad.test -test.run TestPeer
func TestPeer(t *testing.T) {
	hosts, jobs, replicas := number(t, "PEER_HOSTS"), number(t, "PEER_JOBS"), number(t, "PEER_REPLICAS")
	if hosts == 0 {
		t.Skip("run by test/bench/sched")
	}
	runtime.GOMAXPROCS(1)
	h := scheduler.NewHarness(t)
	h.SetNoSubmit() // deciding is measured, as for ours; not the writing of state
	for i := range hosts {
		if err := h.State.UpsertNode(structs.MsgTypeTestSetup, h.NextIndex(), node(i)); err != nil {
			t.Fatal(err)
		}
	}
	evals := make([]*structs.Evaluation, jobs)
	for i := range evals {
		job := job(i, replicas, os.Getenv("PEER_SPREAD") != "")
		if err := h.State.UpsertJob(structs.MsgTypeTestSetup, h.NextIndex(), nil, job); err != nil {
			t.Fatal(err)
		}
		evals[i] = &structs.Evaluation{
			Namespace: structs.DefaultNamespace, ID: mock.Eval().ID, Priority: job.Priority, JobID: job.ID,
			TriggeredBy: structs.EvalTriggerJobRegister, Status: structs.EvalStatusPending, Type: job.Type,
		}
	}
	if err := h.State.UpsertEvals(structs.MsgTypeTestSetup, h.NextIndex(), evals); err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	begin := cpuTime(t)
	for _, e := range evals {
		if err := h.Process(scheduler.NewServiceScheduler, e); err != nil {
			t.Fatal(err)
		}
	}
	spent := cpuTime(t) - begin
	placed := 0
	for _, p := range h.Plans {
		for _, allocs := range p.NodeAllocation {
			placed += len(allocs)
		}
	}
	if placed != jobs*replicas {
		t.Fatalf("%d of %d were placed", placed, jobs*replicas)
	}
	fmt.Printf("PLACEMENTS_PER_CPU_SECOND %f\n", float64(placed)/spent.Seconds())
}

// node is one of three sizes in one of 25 racks.
func node(i int) *structs.Node {
	n := mock.Node()
	size := 1 + i%3
	n.Meta["rack"] = fmt.Sprintf("r%d", i%25+1)
	n.NodeResources.Processors.Topology = structs.MockBasicTopology()
	n.NodeResources.Cpu.CpuShares = int64(16000 * size)
	n.NodeResources.Memory.MemoryMB = int64(65536 * size)
	n.ReservedResources = nil
	_ = n.ComputeClass()
	return n
}

// job asks for little, and for no ports.
func job(i, replicas int, spread bool) *structs.Job {
	j := mock.Job()
	j.ID = fmt.Sprintf("job-%05d", i)
	j.Name = j.ID
	g := j.TaskGroups[0]
	g.Count, g.Networks, g.Services, g.EphemeralDisk.SizeMB = replicas, nil, nil, 0
	g.Tasks[0].Services = nil
	g.Tasks[0].Resources = &structs.Resources{CPU: 50, MemoryMB: 64}
	if spread {
		j.Spreads = []*structs.Spread{{Attribute: "${meta.rack}", Weight: 100}}
	}
	return j
}

func number(t *testing.T, name string) (n int) {
	if v := os.Getenv(name); v != "" {
		if _, err := fmt.Sscan(v, &n); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	return n
}

func cpuTime(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
