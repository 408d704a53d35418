package api

import (
	"regexp"
	"strings"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// phasePending is shown while no run was placed yet.
const phasePending = "pending"

var nameRule = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)

// jailNamed is the jail of the route's {name}. The name is checked at the
// door: it goes into paths and messages.
func (s *Server) jailNamed(r *request, st *fsm.State) (*fsm.Jail, error) {
	name := r.PathValue("name")
	if !nameRule.MatchString(name) {
		return nil, fail("invalid", "", "rexctl ps", "%q is no jail name: a-z, 0-9 and -, beginning with a letter, at most 63", name)
	}
	j, ok := st.Jails.Get(name)
	if !ok {
		return nil, notFound("jail", name)
	}
	return j, nil
}

func onNetwork(j *fsm.Jail, network string) bool {
	for _, a := range j.Addrs {
		if a.Network == network {
			return true
		}
	}
	return false
}

// rowOf is the row of j, whose newest Run is run; nil: it has none.
func rowOf(st *fsm.State, j *fsm.Jail, run *fsm.Run) JailRow {
	row := JailRow{
		Name: j.Spec.Name, UUID: j.UUID, Phase: phasePending, Health: string(fsm.HealthUnknown), Addresses: []string{},
		Image: j.Spec.Image, Want: string(j.Want), Group: j.Spec.Group, Wish: j.Wish, Policy: j.Spec.Restart.Policy,
	}
	if j.Want != fsm.WantRunning {
		row.Phase = fsm.Stopped.String()
	}
	var networks []string
	for _, a := range j.Addrs {
		networks = append(networks, a.Network)
		if a.Addr.IsValid() {
			row.Addresses = append(row.Addresses, a.Addr.String())
		}
		if a.Addr6.IsValid() {
			row.Addresses = append(row.Addresses, a.Addr6.String())
		}
	}
	row.Network = strings.Join(networks, ",")
	if run == nil {
		return row
	}
	row.Phase, row.Health, row.Restarts, row.Reason = run.Phase.String(), string(run.Health), run.Total, run.Reason
	if run.Phase.Over() {
		row.Health = string(fsm.HealthUnknown)
	}
	row.UpToDate = run.Hash == j.Hash && run.Restart == j.Restart
	row.Host, row.Since = string(run.Host), when(run.StartedAt)
	if run.Phase.Over() {
		row.Since = when(run.EndedAt)
	}
	if h, ok := st.Hosts.Get(string(run.Host)); ok {
		row.Host, row.Simulated = h.Name, h.Runtime == "sim"
	}
	return row
}

func (s *Server) showJail(r *request) error {
	st := s.state(r)
	j, err := s.jailNamed(r, st)
	if err != nil {
		return err
	}
	run, ran := st.Runs.Get(j.Spec.Name)
	show := JailShow{
		JailRow: rowOf(st, j, run), Names: j.Names, Addrs: j.Addrs, Hash: j.Hash, CreatedAt: when(j.CreatedAt), Spec: j.Spec,
	}
	show.Provenance = jailProvenance(st, j)
	if ran {
		show.Run = runShow(run)
	}
	if c, ok := st.Certs.Get(j.Spec.Name); ok {
		row := certRow(c)
		show.Cert = &row
	}
	return r.reply(st.Index, show)
}

func runShow(run *fsm.Run) *RunShow {
	return &RunShow{
		Seq: run.Seq, Host: run.Host, Phase: run.Phase.String(), Health: string(run.Health), Attempt: run.Attempt, ImageKey: run.Image,
		Why: run.Why, StopWhy: run.StopWhy, Reason: run.Reason, Exit: run.Exit, PlacedAt: when(run.PlacedAt),
		StartedAt: when(run.StartedAt), HealthyAt: when(run.HealthyAt), EndedAt: when(run.EndedAt), Reserved: run.Res,
	}
}

func (s *Server) startJail(r *request) error  { return s.want(r, fsm.WantRunning) }
func (s *Server) stopJail(r *request) error   { return s.want(r, fsm.WantStopped) }
func (s *Server) removeJail(r *request) error { return s.want(r, fsm.WantGone) }

func (s *Server) want(r *request, want fsm.Want) error {
	j, err := s.jailNamed(r, s.cfg.Log.State())
	if err != nil {
		return err
	}
	return s.propose(r, fsm.WantJail{Jail: fsm.JailName(j.Spec.Name), Want: want})
}

func (s *Server) restartJail(r *request) error {
	j, err := s.jailNamed(r, s.cfg.Log.State())
	if err != nil {
		return err
	}
	return s.propose(r, fsm.RestartJail{Jail: fsm.JailName(j.Spec.Name)})
}
