package scheduler

import "github.com/rexcarcer/rexcarcer/fsm"

// placement { host = "h1" } allows that host alone.
func pinOK(_ *fleet, n *need, h *fsm.Host) bool {
	return n.jail.Place.Host == "" || n.jail.Place.Host == h.Name
}

func pinWhy(_ *fleet, n *need, _ *fsm.Host) string {
	return "is not " + n.jail.Place.Host + ", to which it is pinned"
}
