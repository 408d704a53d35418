package scheduler

import "github.com/rexcarcer/rexcarcer/fsm"

// Hinders says what keeps jail from running on host, apart from where its
// volumes are now, and from what moves have left. never is what cannot be helped: another processor, an
// image that is nowhere. wished is what somebody has asked for: a pin, a
// constraint; who asks for a move knows better, if he says so.
func Hinders(s *fsm.State, jail fsm.JailName, host fsm.HostID, now fsm.Time) (never, wished []string) {
	for _, h := range Explain(s, jail, now).Hosts {
		if h.ID != host {
			continue
		}
		for _, f := range h.Filters {
			switch {
			case f.OK || f.Filter == "volume" || f.Filter == "move": // the log says it, where it stands in the way
			case f.Filter == "pin" || f.Filter == "constraint":
				wished = append(wished, f.Filter+": "+f.Why)
			default:
				never = append(never, f.Filter+": "+f.Why)
			}
		}
	}
	return never, wished
}
