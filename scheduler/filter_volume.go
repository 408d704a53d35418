package scheduler

import "github.com/rexcarcer/rexcarcer/fsm"

// A volume is on the host that said so, or where its jail ran last. Starting the jail
// elsewhere would give it an empty one, which for a database is worse than
// waiting.
func volumeOK(_ *fleet, n *need, h *fsm.Host) bool { return n.home == "" || n.home == h.ID }

func volumeWhy(f *fleet, n *need, _ *fsm.Host) string {
	where := "host " + string(n.home) + ", which is no member any more"
	if h, ok := f.s.Hosts.Get(string(n.home)); ok {
		where = h.Name
		if h.State != fsm.HostAlive {
			where += ", which is " + string(h.State)
		}
	}
	if v := ownVolume(n); v != "" {
		return "volume " + v + " is on " + where
	}
	return "it is about to move from " + where
}

// volumeHome is the host that holds m's own volumes; "" if it has none yet.
func volumeHome(m *member) fsm.HostID { return m.home }

func ownVolume(n *need) string {
	for i := range n.jail.Volumes {
		if v := &n.jail.Volumes[i]; v.Source == "" {
			return v.Name
		}
	}
	return ""
}
