package scheduler

import (
	"slices"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// A host on which a move of the jail ended has old copies of its volumes to
// remove, and the log takes no Run of it there until that is done.
func tidyOK(_ *fleet, n *need, h *fsm.Host) bool { return !slices.Contains(n.untidy, h.ID) }

func tidyWhy(*fleet, *need, *fsm.Host) string { return "has not tidied up after a move yet" }

// leftovers are the hosts on which ended moves of m or of its volumes have
// left something that is in the way of a start.
func (p *pass) leftovers(m *member) (hosts []fsm.HostID) {
	ids, _ := m.jail.Volumes()
	for _, o := range append(ids, m.jail.Spec.Name) {
		for _, mv := range p.s.MovesOf(o) {
			switch {
			case mv.Phase == fsm.MoveFailed && !mv.ToClean:
				hosts = append(hosts, mv.To)
			case mv.Phase == fsm.MoveDone && !mv.FromClean:
				hosts = append(hosts, mv.From)
			}
		}
	}
	return hosts
}
