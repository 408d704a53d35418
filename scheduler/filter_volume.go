package scheduler

import "github.com/rexcarcer/rexcarcer/fsm"

// A volume is on the host where its jail ran last. Starting the jail
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
	return "volume " + ownVolume(n) + " is on " + where
}

// volumeHome is the host that holds m's own volumes; "" if it has none yet.
func volumeHome(m *member) fsm.HostID {
	if m.run == nil {
		return ""
	}
	for i := range m.jail.Spec.Volumes {
		if m.jail.Spec.Volumes[i].Source == "" {
			return m.run.Host
		}
	}
	return ""
}

func ownVolume(n *need) string {
	for i := range n.jail.Volumes {
		if v := &n.jail.Volumes[i]; v.Source == "" {
			return v.Name
		}
	}
	return ""
}
