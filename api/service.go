package api

import (
	"cmp"
	"net"
	"slices"
	"strconv"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

func (s *Server) listServices(r *request) error {
	st := s.state(r)
	return r.reply(st.Index, servicesOf(st, r.URL.Query().Get("network")))
}

// servicesOf groups the jails by the services that they declare. A jail of
// several networks is a member in each of them.
func servicesOf(st *fsm.State, network string) []ServiceRow {
	type key struct{ network, name string }
	rows := map[key]*ServiceRow{}
	for name, j := range st.Jails.All {
		for _, sv := range j.Spec.Services {
			for _, a := range j.Addrs {
				if network != "" && a.Network != network {
					continue
				}
				k := key{a.Network, sv.Name}
				row := rows[k]
				if row == nil {
					row = &ServiceRow{
						Name: sv.Name, Network: a.Network, Port: sv.Port, Proto: cmp.Or(sv.Proto, "tcp"),
						FQDN: sv.Name + "." + a.Network + "." + st.Cluster.Domain,
					}
					rows[k] = row
				}
				member := memberOf(st, name, sv, a)
				if member.Health == string(fsm.HealthHealthy) {
					row.Healthy++
				}
				row.Members = append(row.Members, member)
			}
		}
	}
	out := make([]ServiceRow, 0, len(rows))
	for _, row := range rows {
		out = append(out, *row)
	}
	slices.SortFunc(out, func(a, b ServiceRow) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), cmp.Compare(a.Name, b.Name))
	})
	return out
}

func memberOf(st *fsm.State, jail string, sv spec.Service, a fsm.Addr) ServiceMember {
	m := ServiceMember{Jail: jail, Health: string(fsm.HealthUnknown)}
	addr := a.Addr
	if !addr.IsValid() {
		addr = a.Addr6
	}
	if addr.IsValid() {
		m.Address = net.JoinHostPort(addr.String(), strconv.Itoa(int(sv.Port)))
	}
	if sv.Check != nil {
		m.Check = sv.Check.Type
	}
	if run, ok := st.Runs.Get(jail); ok && run.Phase == fsm.Running {
		m.Health = string(run.Health)
	}
	return m
}

// scrapeTargets lists services in the form of Prometheus' HTTP service
// discovery. Relabelling on __meta_ labels chooses among them.
func (s *Server) scrapeTargets(r *request) error {
	st := s.state(r)
	groups := []ScrapeGroup{}
	for _, sv := range servicesOf(st, r.URL.Query().Get("network")) {
		for _, m := range sv.Members {
			if m.Address == "" {
				continue
			}
			groups = append(groups, ScrapeGroup{Targets: []string{m.Address}, Labels: map[string]string{
				"__meta_rexcarcer_service": sv.Name, "__meta_rexcarcer_network": sv.Network,
				"__meta_rexcarcer_jail": m.Jail, "__meta_rexcarcer_health": m.Health, "__meta_rexcarcer_proto": sv.Proto,
			}})
		}
	}
	return r.reply(st.Index, groups)
}
