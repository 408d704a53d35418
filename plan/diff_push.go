package plan

import "github.com/rexcarcer/rexcarcer/fsm"

// pushed adds the jails that the wish does not speak of and that lose their
// place by it all the same: a more important jail needs the room.
func (d *diff) pushed() {
	for _, name := range d.runs {
		r, has := d.after.Runs.Get(name)
		was, had := d.before.Runs.Get(name)
		if !has || !had || was == r || was.Phase.Over() || d.touched[name] || r.Seq == was.Seq && !r.Phase.Over() {
			continue
		}
		j, ok := d.after.Jails.Get(name)
		if !ok || j.Want != fsm.WantRunning {
			continue
		}
		d.touched[name] = true
		st := d.jailStep(ActionMove, j)
		st.Addresses, st.Names, st.Ports = nil, nil, nil // stay as they are
		st.From, st.Restart, st.Reason = hostName(d.before, was.Host), true, "makes room for a more important jail"
		if r.Seq == was.Seq {
			st.Reason = "makes room for " + string(r.PushedBy) + ", and finds no other"
		}
		d.add(st)
	}
}
