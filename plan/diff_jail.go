package plan

import (
	"fmt"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// jail adds the step of a jail.
func (d *diff) jail(e fsm.Event) {
	switch e := e.(type) {
	case fsm.JailCreated:
		d.jailCreated(e.Jail)
	case fsm.JailChanged:
		d.jailChanged(e.Jail)
	case fsm.JailWanted:
		if e.Jail.Want == fsm.WantGone {
			d.jailGone(e.Jail.Spec.Name, e.Reason)
		}
	case fsm.JailRemoved:
		d.jailGone(string(e.Name), "")
	}
}

func (d *diff) jailCreated(j *fsm.Jail) {
	d.touched[j.Spec.Name] = true
	st := d.jailStep(ActionCreate, j)
	st.Reason = "new"
	d.add(st)
}

// jailStep is what is the same for created and changed jails.
func (d *diff) jailStep(action string, j *fsm.Jail) Step {
	st := Step{
		Action: action, Kind: KindJail, Name: j.Spec.Name, Addresses: addresses(j), Names: j.Names, Image: j.Spec.Image,
		Ports: ports(j), Built: d.builtAnywhere(j.Spec.ImageKey),
	}
	r := liveRun(d.after, j.Spec.Name)
	if r == nil {
		if j.Want == fsm.WantRunning && d.after.Hosts.Len() > 0 {
			d.warn("jail %s gets no host as things are, and will wait: rexctl why %s says more once it is applied", st.Name, st.Name)
		}
		return st
	}
	st.Host, st.Score = hostName(d.after, r.Host), r.Why
	if b, ok := d.now.Builds.Get(j.Spec.ImageKey); ok && len(b.Hosts) > 0 {
		st.Built = "elsewhere"
		for _, h := range b.Hosts {
			if h == r.Host {
				st.Built = "yes"
			}
		}
	}
	return st
}

func (d *diff) jailChanged(j *fsm.Jail) {
	d.touched[j.Spec.Name] = true
	st := d.jailStep(ActionChange, j)
	old, ok := d.now.Jails.Get(j.Spec.Name)
	if !ok {
		old = &fsm.Jail{}
	}
	was, will := liveRun(d.before, j.Spec.Name), liveRun(d.after, j.Spec.Name)
	inPlace := was != nil && will != nil && was.Seq == will.Seq && was.Host == will.Host
	st.Changes = jailChanges(old, j)
	st.Restart = was != nil && !inPlace
	switch {
	case was == nil:
		st.Reason = "changed, starts"
	case inPlace:
		st.Reason = "changed, in place"
		st.Score = ""
	case will != nil && was.Host != will.Host:
		st.Action, st.Reason = ActionMove, "changed, starts again elsewhere"
		st.From = hostName(d.before, was.Host)
	default:
		st.Reason = "changed, needs a restart"
	}
	d.add(st)
}

func (d *diff) jailGone(name, reason string) {
	if d.touched[name] {
		return
	}
	d.touched[name] = true
	st := Step{Action: ActionDestroy, Kind: KindJail, Name: name, Reason: reason}
	if reason == "" {
		st.Reason = "no longer in wish " + d.p.Name
	}
	if d.p.Destroy {
		st.Reason = "wish " + d.p.Name + " is destroyed"
	}
	if j, ok := d.now.Jails.Get(name); ok {
		st.Addresses, st.Image = addresses(j), j.Spec.Image
		if r := liveRun(d.now, name); r != nil {
			st.Host = hostName(d.now, r.Host)
		}
		for i := range j.Spec.Volumes {
			if v := &j.Spec.Volumes[i]; v.Source == "" {
				d.warn("volume %s of jail %s stays%s", v.Name, name, onHost(d.now, name))
			}
		}
	}
	d.add(st)
}

// onHost says where the volumes of a jail are, if that is known.
func onHost(s *fsm.State, jail string) string {
	if r, ok := s.Runs.Get(jail); ok {
		return " on " + hostName(s, r.Host)
	}
	return ""
}

// volumes adds the volumes that appear, and warns about those that no jail
// mounts any more.
func (d *diff) volumes() {
	for i := range d.p.Steps {
		st := &d.p.Steps[i]
		if st.Kind != KindJail || st.Action == ActionDestroy {
			continue
		}
		old, now := ownVolumes(d.now, st.Name), ownVolumes(d.after, st.Name)
		for _, v := range now.names {
			if _, had := old.by[v]; !had {
				d.add(Step{Action: ActionCreate, Kind: KindVolume, Name: st.Name + "/" + v, Host: st.Host, Reason: "new", Detail: volumeText(now.by[v])})
				continue
			}
			if c := volumeChanges(old.by[v], now.by[v]); len(c) > 0 {
				d.add(Step{Action: ActionChange, Kind: KindVolume, Name: st.Name + "/" + v, Host: st.Host, Reason: "changed", Changes: c})
			}
		}
		for _, v := range old.names {
			if _, has := now.by[v]; !has {
				d.warn("volume %s of jail %s stays%s, though nothing mounts it", v, st.Name, onHost(d.now, st.Name))
			}
		}
	}
}

func addresses(j *fsm.Jail) []Address {
	var all []Address
	for _, a := range j.Addrs {
		if a.Addr.IsValid() {
			all = append(all, Address{a.Network, a.Addr.String()})
		}
		if a.Addr6.IsValid() {
			all = append(all, Address{a.Network, a.Addr6.String()})
		}
	}
	return all
}

func ports(j *fsm.Jail) []Port {
	var all []Port
	for i := range j.Spec.Services {
		s := &j.Spec.Services[i]
		all = append(all, Port{Service: s.Name, Port: s.Port, Proto: protoName(s.Proto)})
	}
	return all
}

func liveRun(s *fsm.State, jail string) *fsm.Run {
	if r, ok := s.Runs.Get(jail); ok && !r.Phase.Over() {
		return r
	}
	return nil
}

func hostName(s *fsm.State, id fsm.HostID) string {
	if h, ok := s.Hosts.Get(string(id)); ok && h.Name != "" {
		return h.Name
	}
	return string(id)
}

func plural(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}
