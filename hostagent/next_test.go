package hostagent

import (
	"testing"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

const key = "sha256:1"

func wantRun(seq uint64, phase fsm.Phase, stop bool) Want {
	r := &fsm.Run{Jail: "web", Host: "h1", Seq: seq, Phase: phase, Image: key}
	if stop {
		r.StopWhy = "stopped by a person"
	}
	return Want{Jail: &fsm.Jail{Spec: spec.Jail{Name: "web"}, Want: fsm.WantRunning, SpecIndex: 7}, Run: r, Stop: stop}
}

func TestNextNamesTheOneStepThatIsNeeded(t *testing.T) {
	t.Parallel()
	idle := Want{Jail: &fsm.Jail{Spec: spec.Jail{Name: "web"}, Want: fsm.WantRunning}}
	ephemeral := wantRun(2, fsm.Placed, false)
	ephemeral.Jail.Spec.Ephemeral = true
	for _, c := range []struct {
		name string
		want Want
		have Have
		step Step
	}{
		{"a new Run is started", wantRun(1, fsm.Placed, false), Have{}, StepStart},
		{"a start that was interrupted goes on", wantRun(1, fsm.Preparing, false), Have{Seq: 1, Stage: StageMaking, Root: key}, StepStart},
		{"a running jail is left alone", wantRun(1, fsm.Running, false), Have{Seq: 1, Stage: StageRunning, Alive: true, Root: key, Spec: 7}, StepNone},
		{"new limits are taken over in place", wantRun(1, fsm.Running, false), Have{Seq: 1, Stage: StageRunning, Alive: true, Root: key, Spec: 6}, StepUpdate},
		{"a Run that must end is stopped", wantRun(1, fsm.Running, true), Have{Seq: 1, Stage: StageRunning, Alive: true, Root: key, Spec: 7}, StepStop},
		{"one that must end before it began is reported", wantRun(1, fsm.Placed, true), Have{}, StepClean},
		{"what ended by itself is cleaned up", wantRun(1, fsm.Running, false), Have{Seq: 1, Stage: StageRunning, Root: key, Spec: 7}, StepClean},
		{"a Run of before the reboot is lost", wantRun(1, fsm.Running, false), Have{Root: key}, StepLost},
		{"an older Run's process is stopped first", wantRun(2, fsm.Placed, false), Have{Seq: 1, Stage: StageRunning, Alive: true, Root: key}, StepStop},
		{"an older Run's rest is cleaned first", wantRun(2, fsm.Placed, false), Have{Seq: 1, Stage: StageEnded, Root: key}, StepClean},
		{"a root of another image is replaced", wantRun(2, fsm.Placed, false), Have{Root: "sha256:0"}, StepDestroy},
		{"a root that was not ephemeral is replaced by one that is", ephemeral, Have{Root: key}, StepDestroy},
		{"between Runs the root stays", idle, Have{Root: key}, StepNone},
		{"the root of a jail that has moved away goes", Want{Jail: idle.Jail, Left: true}, Have{Root: key}, StepDestroy},
		{"a process that nobody wants is stopped", Want{}, Have{Seq: 1, Stage: StageRunning, Alive: true, Root: key}, StepStop},
		{"the root of a jail that is gone goes", Want{}, Have{Root: key}, StepDestroy},
		{"when nothing is left the row goes", Want{}, Have{}, StepForget},
	} {
		if got := Next(c.want, c.have); got != c.step {
			t.Errorf("%s: got %s, want %s", c.name, got, c.step)
		}
	}
}

// Whatever a host has and whatever is wanted, step after step leads to a
// state of rest, and an unwanted process never survives.
func TestNextAlwaysComesToRest(t *testing.T) {
	t.Parallel()
	wants := []Want{{}, {Jail: &fsm.Jail{Want: fsm.WantRunning}}, {Jail: &fsm.Jail{Want: fsm.WantGone}}}
	for _, phase := range []fsm.Phase{fsm.Placed, fsm.Preparing, fsm.Running, fsm.Stopping} {
		for _, stop := range []bool{false, true} {
			wants = append(wants, wantRun(2, phase, stop))
		}
	}
	for i, want := range wants {
		for _, seq := range []uint64{0, 1, 2} {
			for _, stage := range []Stage{StageNone, StageMaking, StageRunning, StageEnded} {
				for _, alive := range []bool{false, true} {
					for _, root := range []string{"", key, "sha256:0"} {
						if seq == 0 && (alive || stage != StageNone) {
							continue
						}
						have := Have{Seq: seq, Stage: stage, Alive: alive, Root: root}
						end, w := settleModel(t, want, have)
						if end.Alive && (w.Run == nil || w.Stop || w.Run.Seq != end.Seq) {
							t.Errorf("want %d, have %+v: a process that nobody wants is left: %+v", i, have, end)
						}
					}
				}
			}
		}
	}
}

// settleModel takes steps on a model of the host and the cluster until there
// is nothing to do.
func settleModel(t *testing.T, w Want, h Have) (Have, Want) {
	t.Helper()
	for range 12 {
		step := Next(w, h)
		switch step {
		case StepNone, StepForget:
			return h, w
		case StepStart:
			h = Have{Seq: w.Run.Seq, Stage: StageRunning, Alive: true, Root: rootOf(w), Spec: w.Jail.SpecIndex}
		case StepUpdate:
			h.Spec = w.Jail.SpecIndex
		case StepStop:
			h.Alive = false
		case StepClean:
			if w.Run != nil && (h.Seq == w.Run.Seq || h.Seq == 0) {
				w.Run, w.Stop = nil, false // the cluster hears that it is over
			}
			h.Seq, h.Stage = 0, StageNone
		case StepLost:
			w.Run, w.Stop = nil, false
		case StepDestroy:
			h.Root = ""
		}
	}
	t.Fatalf("no rest after 12 steps: want %+v, have %+v", w, h)
	return h, w
}
