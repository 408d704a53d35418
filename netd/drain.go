package netd

import (
	"net/netip"
	"time"
)

// drains knows which members of published ports left and have connections still. What the kernel tracks is the memory: a new
// process finds the same connections, and counts from then.
type drains struct {
	// look at these networks, by name: their ports changed, or nobody has looked yet.
	due     map[string]bool
	members map[string]string               // by network, what it published when it was looked at
	leaving map[string]map[flowKey]deadline // by network
}

// flowKey is a published port with one member behind it, as the router tracks it.
type flowKey struct {
	Proto  string
	Port   uint16
	Member netip.AddrPort
}

type deadline struct {
	at  time.Time
	ask time.Duration // Drain of the port
}

// formerDrain is for connections by a port that is not published any more.
const formerDrain = 30 * time.Second

// look notes which networks changed what they publish.
func (d *drains) look(plan []plannedNetwork) {
	if d.due == nil {
		d.due, d.members, d.leaving = map[string]bool{}, map[string]string{}, map[string]map[flowKey]deadline{}
	}
	there := map[string]bool{}
	for _, n := range plan {
		there[n.Name] = true
		text := publishedText(n.Publish)
		if before, known := d.members[n.Name]; !known || before != text {
			d.due[n.Name], d.members[n.Name] = true, text
		}
	}
	for name := range d.members {
		if !there[name] {
			delete(d.members, name)
			delete(d.due, name)
			delete(d.leaving, name)
		}
	}
}

func publishedText(ps []Publish) string {
	text := ""
	for _, p := range ps {
		text += portKeyOf(p) + " " + memberText(p) + " " + p.Drain.String() + "\n"
	}
	return text
}

// stays says whether connections by k are as wished, and if not how long they may go on; for ever is 0.
func stays(n plannedNetwork, k flowKey) (bool, time.Duration) {
	for _, p := range n.Publish {
		if p.HostPort != k.Port || p.Proto != k.Proto {
			continue
		}
		for _, m := range p.Members {
			if m == k.Member {
				return true, 0
			}
		}
		for _, m := range p.Members6 {
			if m == k.Member {
				return true, 0
			}
		}
		return false, p.Drain
	}
	return false, formerDrain
}

// judge takes the connections that were found for one network. It returns those to be cut now.
func (d *drains) judge(n plannedNetwork, found map[flowKey]bool, now time.Time) map[flowKey]bool {
	delete(d.due, n.Name)
	leaving, cut := map[flowKey]deadline{}, map[flowKey]bool{}
	for k := range found {
		ok, after := stays(n, k)
		if ok || after == 0 {
			continue
		}
		at := deadline{now.Add(after), after}
		if had, known := d.leaving[n.Name][k]; known && had.ask == after {
			at = had
		}
		if !at.at.After(now) {
			cut[k] = true
			continue
		}
		leaving[k] = at
	}
	d.leaving[n.Name] = leaving
	return cut
}

// wanted says whether a network has to be looked at now.
func (d *drains) wanted(network string, now time.Time) bool {
	if d.due[network] {
		return true
	}
	for _, x := range d.leaving[network] {
		if !x.at.After(now) {
			return true
		}
	}
	return false
}

// again is the time until the next deadline, 0 if there is none.
func (d *drains) again(now time.Time) (wait time.Duration) {
	for _, leaving := range d.leaving {
		for _, x := range leaving {
			if left := max(x.at.Sub(now), time.Millisecond); wait == 0 || left < wait {
				wait = left
			}
		}
	}
	return wait
}
