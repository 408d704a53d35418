package api

import (
	"cmp"

	"github.com/rexcarcer/rexcarcer/fsm"
)

func (s *Server) listHosts(r *request) error {
	st := s.state(r)
	rows := []HostRow{}
	for _, h := range st.Hosts.All {
		rows = append(rows, s.hostRow(r, st, h))
	}
	return r.reply(st.Index, rows)
}

func (s *Server) showHost(r *request) error {
	st := s.state(r)
	h, err := hostNamed(r, st)
	if err != nil {
		return err
	}
	return r.reply(st.Index, s.hostRow(r, st, h))
}

func (s *Server) hostRow(r *request, st *fsm.State, h *fsm.Host) HostRow {
	row := HostRow{
		Name: h.Name, ID: h.ID, Role: h.Role, State: string(h.State), OS: h.OS, Arch: h.Arch, Runtime: h.Runtime, Addr: cmp.Or(h.Addr, h.Peer),
		Version: h.Version, Capacity: h.Capacity, Labels: h.Labels, Features: h.Features, SeenAt: when(h.SeenAt),
	}
	if o := h.Overlay; o != nil {
		row.Overlay = &HostOverlay{Address: o.Addr().String(), Endpoint: o.Endpoint, Device: o.Device, Key: o.Key, Next: o.Next, KeyAt: when(o.KeyAt)}
	}
	row.Alarms = alarmsOf(h)
	row.Used, _ = st.Load.Get(string(h.ID))
	row.Jails = row.Used.Jails
	if r.past != nil {
		return row // who led and voted then is not in the log
	}
	if s.cfg.Live == nil {
		if h.ID == s.cfg.Host.ID() {
			row.Leader, row.Voter, row.AppliedIndex = true, true, st.Index
		}
		return row
	}
	live := s.cfg.Live()[h.ID]
	row.Leader, row.Voter, row.AppliedIndex = live.Leader, live.Voter, live.AppliedIndex
	return row
}

func alarmsOf(h *fsm.Host) (rows []AlarmRow) {
	for _, a := range h.Alarms {
		rows = append(rows, AlarmRow{h.Name, a.Name, a.Text, when(a.Since)})
	}
	return rows
}
