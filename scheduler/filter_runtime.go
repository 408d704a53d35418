package scheduler

import "github.com/rexcarcer/rexcarcer/fsm"

// A jail that names a runtime runs on hosts that have it.
func runtimeOK(_ *fleet, n *need, h *fsm.Host) bool {
	return n.jail.Runtime == "" || n.jail.Runtime == h.Runtime
}

func runtimeWhy(_ *fleet, n *need, h *fsm.Host) string {
	return "has runtime " + h.Runtime + ", not " + n.jail.Runtime
}
