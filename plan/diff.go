package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

// diff turns what the apply changed into steps.
type diff struct {
	p       *Plan
	now     *fsm.State // as it is
	before  *fsm.State // as it would become without the wish
	after   *fsm.State // as it will become with it
	touched map[string]bool

	// What may differ between before and after; all else is the same in both.
	runs    []string // by jail
	records []string // keys
}

// all adds the steps in the order of kinds. Networks, images and jails come
// from the events of the apply, one to one; what follows from them is the
// difference between the two settled States.
func (d *diff) all(events []fsm.Event) {
	for _, e := range events {
		d.network(e)
	}
	for _, e := range events {
		d.image(e)
	}
	for _, e := range events {
		d.jail(e)
	}
	if d.before.Runs.Len() > 0 && !d.p.Destroy {
		d.pushed()
	}
	d.volumes()
	d.dns()
	d.certs()
	if d.after.Hosts.Len() == 0 && !d.p.Destroy {
		d.warn("there is no host yet: jails will wait for one")
	}
	for i := range d.p.Steps {
		d.p.Summary.count(&d.p.Steps[i])
	}
}

func (d *diff) add(s Step) { d.p.Steps = append(d.p.Steps, s) }

func (d *diff) warn(format string, args ...any) {
	d.p.Warnings = append(d.p.Warnings, fmt.Sprintf(format, args...))
}

func (s *Summary) count(t *Step) {
	if t.Restart {
		s.Restarts++
	}
	if t.Kind != KindJail && t.Kind != KindNetwork && t.Kind != KindImage {
		return
	}
	switch t.Action {
	case ActionCreate:
		s.Create++
	case ActionChange:
		s.Change++
	case ActionMove:
		s.Move++
	case ActionDestroy:
		s.Destroy++
	}
}

// network adds the steps for networks, their published ports and the domain.
func (d *diff) network(e fsm.Event) {
	switch e := e.(type) {
	case fsm.DomainChanged:
		d.add(Step{Action: ActionChange, Kind: KindDomain, Name: e.Domain, Reason: "first wish of the cluster",
			Changes: []string{fmt.Sprintf("domain %s -> %s", d.now.Cluster.Domain, e.Domain)}})
	case fsm.WishApplied:
		d.keys(e.Wish)
	case fsm.NetworkCreated:
		d.add(Step{Action: ActionCreate, Kind: KindNetwork, Name: e.Network.Name, Reason: "new", Detail: networkText(e.Network)})
		d.publish(e.Network.Name, nil, e.Network.Publish)
	case fsm.NetworkChanged:
		d.networkChanged(e.Network)
	case fsm.NetworkRemoved:
		d.networkGone(e.Name)
	}
}

// keys adds a step if other people may log in than before.
func (d *diff) keys(w *spec.Wish) {
	var old []string
	if have, ok := d.now.Wishes.Get(w.Name); ok {
		old = have.SSHKeys
	}
	if changes := lists("ssh_keys", short(old), short(w.SSHKeys)); changes != nil {
		d.add(Step{Action: ActionChange, Kind: KindKeys, Name: w.Name, Reason: "changed", Changes: changes})
	}
}

// short are keys as people tell them apart: by their end and comment.
func short(keys []string) []string {
	var out []string
	for _, k := range keys {
		parts := strings.SplitN(k, " ", 3)
		if len(parts) > 1 && len(parts[1]) > 8 {
			parts[1] = "..." + parts[1][len(parts[1])-8:]
		}
		out = append(out, strings.Join(parts, " "))
	}
	return out
}

func (d *diff) networkChanged(n *fsm.Network) {
	if n.Gone {
		d.networkGone(n.Name)
		return
	}
	old, ok := d.now.Networks.Get(n.Name)
	if !ok {
		old = &fsm.Network{}
	}
	st := Step{Action: ActionChange, Kind: KindNetwork, Name: n.Name, Reason: "changed"}
	if old.Gone {
		st.Changes = append(st.Changes, "stays, though it was to go")
	}
	st.Changes = append(st.Changes, changed("subnet", old.Subnet.String(), n.Subnet.String())...)
	st.Changes = append(st.Changes, changed("subnet6", prefixText(old.Subnet6), prefixText(n.Subnet6))...)
	st.Changes = append(st.Changes, changed("nat", onOff(old.NAT), onOff(n.NAT))...)
	st.Changes = append(st.Changes, lists("allow", allowNames(&old.Network), allowNames(&n.Network))...)
	st.Changes = append(st.Changes, lists("dhcp", dhcpNames(old.DHCP), dhcpNames(n.DHCP))...)
	st.Changes = append(st.Changes, lists("publish", publishNames(old.Publish), publishNames(n.Publish))...)
	d.add(st)
	d.publish(n.Name, old.Publish, n.Publish)
}

func (d *diff) networkGone(name string) {
	st := Step{Action: ActionDestroy, Kind: KindNetwork, Name: name, Reason: "no longer in wish " + d.p.Name}
	if d.p.Destroy {
		st.Reason = "wish " + d.p.Name + " is destroyed"
	}
	old, ok := d.now.Networks.Get(name)
	if ok {
		st.Detail = networkText(old)
	}
	d.add(st)
	if ok {
		d.publish(name, old.Publish, nil)
	}
}

// publish compares the published ports of one network.
func (d *diff) publish(network string, old, now []spec.Publish) {
	find := func(in []spec.Publish, name string) *spec.Publish {
		if i := slices.IndexFunc(in, func(p spec.Publish) bool { return p.Name == name }); i >= 0 {
			return &in[i]
		}
		return nil
	}
	for i := range now {
		n := &now[i]
		st := Step{Action: ActionCreate, Kind: KindPublish, Name: network + "/" + n.Name, Reason: "new", Ports: []Port{publishPort(n)}}
		st.Detail = fmt.Sprintf("%s of each host -> %s", portText(n.Port, n.Proto), d.membersText(network, n.Service))
		if o := find(old, n.Name); o != nil {
			if *o == *n {
				continue
			}
			st.Action, st.Reason = ActionChange, "changed"
			st.Changes = append(changed("port", portText(o.Port, o.Proto), portText(n.Port, n.Proto)), changed("service", o.Service, n.Service)...)
			st.Changes = append(st.Changes, changed("mode", o.Mode, n.Mode)...)
			st.Changes = append(st.Changes, changed("shared", onOff(o.Shared), onOff(n.Shared))...)
			st.Changes = append(st.Changes, changed("drain", drainText(o), drainText(n))...)
		}
		d.add(st)
	}
	for i := range old {
		if o := &old[i]; find(now, o.Name) == nil {
			d.add(Step{Action: ActionDestroy, Kind: KindPublish, Name: network + "/" + o.Name, Reason: "no longer published", Ports: []Port{publishPort(o)}})
		}
	}
}

// membersText is the service with how many jails will offer it in network.
func (d *diff) membersText(network, service string) string {
	n := 0
	for _, j := range d.after.Jails.All {
		inIt := slices.ContainsFunc(j.Addrs, func(a fsm.Addr) bool { return a.Network == network })
		has := slices.ContainsFunc(j.Spec.Services, func(s spec.Service) bool { return s.Name == service })
		if inIt && has && j.Want == fsm.WantRunning {
			n++
		}
	}
	return fmt.Sprintf("%s, %s", service, plural(n, "member"))
}

// image adds the steps for images.
func (d *diff) image(e fsm.Event) {
	switch e := e.(type) {
	case fsm.ImageTagged:
		im := e.Image
		st := Step{Action: ActionCreate, Kind: KindImage, Name: im.Name, Reason: "new", Built: d.builtAnywhere(im.Key)}
		st.Detail = fmt.Sprintf("from %s, %s", im.Base, plural(len(im.Steps), "step"))
		if old, ok := d.now.Images.Get(im.Name); ok {
			st.Action, st.Reason = ActionChange, "changed"
			st.Changes = changed("key", shortKey(old.Key), shortKey(im.Key))
			st.Changes = append(st.Changes, changed("base", old.Base, im.Base)...)
			if len(st.Changes) == 0 {
				st.Changes = []string{"defaults of its jails"}
			}
		}
		d.add(st)
	case fsm.ImageUntagged:
		reason := "no longer in wish " + d.p.Name
		if d.p.Destroy {
			reason = "wish " + d.p.Name + " is destroyed"
		}
		d.add(Step{Action: ActionDestroy, Kind: KindImage, Name: e.Name, Reason: reason})
	}
}

func (d *diff) builtAnywhere(key string) string {
	if b, ok := d.now.Builds.Get(key); ok && len(b.Hosts) > 0 {
		return "yes"
	}
	return "no"
}

// builds names the images of the wish that no host has, those first on which
// others are based.
func (d *diff) builds() []string {
	if d.p.Wish == nil {
		return nil
	}
	images := map[string]*spec.Image{}
	var missing []string
	for i := range d.p.Wish.Images {
		im := &d.p.Wish.Images[i]
		images[im.Name] = im
		if d.builtAnywhere(im.Key) == "no" {
			missing = append(missing, im.Name)
		}
	}
	var ordered []string
	var visit func(name string, depth int)
	visit = func(name string, depth int) {
		im, ok := images[name]
		if !ok || depth > len(images) || slices.Contains(ordered, name) {
			return
		}
		visit(im.Base, depth+1)
		if slices.Contains(missing, name) && !slices.Contains(ordered, name) {
			ordered = append(ordered, name)
		}
	}
	for _, name := range missing {
		visit(name, 0)
	}
	return ordered
}

func networkText(n *fsm.Network) string {
	parts := []string{n.Subnet.String()}
	if n.Subnet6.IsValid() {
		parts = append(parts, n.Subnet6.String())
	}
	parts = append(parts, "gateway "+n.Gateway.String())
	if n.NAT {
		parts = append(parts, "nat")
	}
	if open := allowNames(&n.Network); len(open) > 0 {
		parts = append(parts, "open to "+strings.Join(open, ", "))
	}
	return strings.Join(parts, ", ")
}
