package api

import "github.com/rexcarcer/rexcarcer/fsm"

func (s *Server) listHosts(r *request) error {
	st := s.cfg.Log.State()
	rows := []HostRow{}
	for _, h := range st.Hosts.All {
		rows = append(rows, s.hostRow(st, h))
	}
	return r.reply(st.Index, rows)
}

func (s *Server) showHost(r *request) error {
	st := s.cfg.Log.State()
	name := r.PathValue("name")
	for _, h := range st.Hosts.All {
		if h.Name == name || string(h.ID) == name {
			return r.reply(st.Index, s.hostRow(st, h))
		}
	}
	return notFound("host", name)
}

func (s *Server) hostRow(st *fsm.State, h *fsm.Host) HostRow {
	row := HostRow{
		Name: h.Name, ID: h.ID, Role: h.Role, State: string(h.State), OS: h.OS, Arch: h.Arch, Runtime: h.Runtime, Addr: h.Addr,
		Version: h.Version, Capacity: h.Capacity, Labels: h.Labels, Features: h.Features, SeenAt: when(h.SeenAt),
	}
	row.Used, _ = st.Load.Get(string(h.ID))
	row.Jails = row.Used.Jails
	if s.cfg.Live == nil {
		if h.ID == s.cfg.Host.ID() {
			row.Leader, row.AppliedIndex = true, st.Index
		}
		return row
	}
	live := s.cfg.Live()[h.ID]
	row.Leader, row.AppliedIndex = live.Leader, live.AppliedIndex
	return row
}
