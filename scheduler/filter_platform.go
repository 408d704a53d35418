package scheduler

import "github.com/rexcarcer/rexcarcer/fsm"

// A jail whose image is for one operating system or processor needs a host of
// that kind. A simulated host pretends to be any.
func platformOK(_ *fleet, n *need, h *fsm.Host) bool {
	return h.Runtime == "sim" || (n.jail.OS == "" || n.jail.OS == h.OS) && (n.jail.Arch == "" || n.jail.Arch == h.Arch)
}

func platformWhy(_ *fleet, n *need, h *fsm.Host) string {
	if n.jail.OS != "" && n.jail.OS != h.OS {
		return "is " + h.OS + ", not " + n.jail.OS
	}
	return "is " + h.Arch + ", not " + n.jail.Arch
}
