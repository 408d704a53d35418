package hostagent

import (
	"github.com/rexcarcer/rexcarcer/fsm"
)

// Want is what State wants of one jail on this host. The zero value wants
// nothing: whatever the host has of the jail goes.
type Want struct {
	Jail  *fsm.Jail // nil: the cluster does not know the jail any more
	Run   *fsm.Run  // nil: no Run of it belongs on this host
	Stop  bool      // end the Run
	Left  bool      // it has moved to another host: nothing of it stays here
	Image *fsm.Image
	Cert  *fsm.Cert

	Start Start // how the Run's image says that processes start; from this host's store, see Agent.startOf
}

// Start is how processes begin where the jail does not say it.
type Start struct {
	Env     []string // NAME=value
	Command []string
	User    string
	WorkDir string
}

// WantOf returns what s wants on host of the jail that is called name and has
// uuid. A name that was removed and declared again is another jail.
func WantOf(s *fsm.State, host fsm.HostID, name fsm.JailName, uuid string) Want {
	var w Want
	w.Jail, _ = s.Jails.Get(string(name))
	if w.Jail == nil || w.Jail.UUID != uuid {
		return Want{}
	}
	if r, ok := s.Runs.Get(string(name)); ok && r.Host == host && !r.Phase.Over() {
		w.Run = r
		w.Stop = r.StopWhy != ""
	}
	w.Left = w.Run == nil && leftHost(s, host, name)
	w.Image, _ = s.Images.Get(w.Jail.Spec.Image)
	w.Cert, _ = s.Certs.Get(string(name))
	return w
}

// leftHost reports whether a move has taken the jail from host, which has not
// tidied up yet.
func leftHost(s *fsm.State, host fsm.HostID, name fsm.JailName) bool {
	for _, m := range s.MovesOf(string(name)) {
		if m.Phase == fsm.MoveDone && m.From == host && !m.FromClean {
			return true
		}
	}
	return false
}

// rootOf names the root that the Run needs: a change of it makes a new root.
func rootOf(w Want) string {
	if w.Jail.Spec.Ephemeral {
		return w.Run.Image + " ephemeral"
	}
	return w.Run.Image
}

// Stage is how far a Run has come on this host. It only grows within a Run.
type Stage int

// The stages. A crash leaves the stage that was being worked towards, and
// the step towards it is done again.
const (
	StageNone    Stage = iota
	StageMaking        // root, network or files are there, or half there
	StageRunning       // the first process was started
	StageEnded         // it has ended; something of it may be left
)

// Have is what this host has of one jail.
type Have struct {
	Seq   uint64 // Run that Stage speaks of; 0: none
	Stage Stage
	Alive bool   // the first process runs, by the driver's word
	Root  string // rootOf what the jail's root was made for; "" is no root
	Spec  uint64 // Jail.SpecIndex whose limits are in force; 0: unknown
}

// Step is one thing to do next.
type Step string

// The steps.
const (
	StepNone    Step = "none"    // all is as wanted
	StepStart   Step = "start"   // make root, network and files, and start the first process
	StepUpdate  Step = "update"  // take over in place what changed: limits
	StepStop    Step = "stop"    // TERM, wait, kill
	StepClean   Step = "clean"   // take down network and mounts of a Run that is over, report it
	StepLost    Step = "lost"    // report a Run that was running when this host went down
	StepDestroy Step = "destroy" // remove the root: the jail is gone, or lives elsewhere, or has another image
	StepForget  Step = "forget"  // nothing is left: drop the row
)

// Next names the one step that brings have nearer to w. It is pure.
func Next(w Want, have Have) Step {
	switch {
	case have.Seq != 0 && (w.Run == nil || w.Run.Seq != have.Seq):
		// What is here belongs to a Run that is over, or was never ours.
		if have.Alive {
			return StepStop
		}
		return StepClean
	case w.Run == nil:
		if have.Root != "" && (w.Jail == nil || w.Jail.Want == fsm.WantGone || w.Left) {
			return StepDestroy
		}
		if have.Root == "" && w.Jail == nil {
			return StepForget
		}
		return StepNone
	case w.Stop:
		if have.Alive {
			return StepStop
		}
		return StepClean
	case have.Seq == 0:
		if w.Run.Phase >= fsm.Running {
			return StepLost
		}
		if have.Root != "" && have.Root != rootOf(w) {
			return StepDestroy
		}
		return StepStart
	case have.Alive && have.Spec != w.Jail.SpecIndex:
		return StepUpdate
	case have.Alive:
		return StepNone
	case have.Stage == StageMaking:
		return StepStart // the agent was killed on the way: go on
	default:
		return StepClean
	}
}
