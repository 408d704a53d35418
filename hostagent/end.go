package hostagent

import (
	"fmt"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/jail"
)

// endOf says how a Run ended, from what was asked and how the process ended.
func endOf(want Want, exit *jail.Exit) fsm.ReportRun {
	r := fsm.ReportRun{Phase: fsm.Stopped}
	if exit != nil {
		r.Exit = &fsm.Exit{Known: exit.Known, Code: exit.Code, Signal: exit.Signal, OOM: exit.OOM}
	}
	asked := want.Run != nil && want.Run.StopWhy != ""
	switch {
	case asked:
		r.Reason = want.Run.StopWhy
	case exit == nil || !exit.Known:
		r.Phase, r.Reason = fsm.Failed, "it ended while nobody watched"
	case exit.OOM:
		r.Phase, r.Reason = fsm.Failed, "killed for want of memory: raise limits.memory"
	case exit.Signal != "":
		r.Phase, r.Reason = fsm.Failed, "ended by "+exit.Signal
	case exit.Code != 0:
		r.Phase, r.Reason = fsm.Failed, fmt.Sprintf("exit code %d", exit.Code)
	default:
		r.Reason = "exit code 0"
	}
	return r
}
