package spec

import (
	"cmp"
	"slices"
	"time"
)

// The values of what a user leaves out.
const (
	DefaultDomain        = "rex.internal"
	DefaultStopTimeout   = 10 * time.Second
	DefaultBackoff       = time.Second
	DefaultMaxBackoff    = 5 * time.Minute
	DefaultCheckInterval = 2 * time.Second
	DefaultCheckTimeout  = time.Second
	DefaultFailures      = 3
)

// Normalize fills in the defaults and sorts what has an order of its own, so
// that equal wishes are equal bytes. Parse has done it; whoever makes a Wish
// by hand calls it before Validate. It is idempotent.
func (w *Wish) Normalize() {
	w.SSHKeys = compactSorted(w.SSHKeys)
	byName := func(a, b Network) int { return cmp.Compare(a.Name, b.Name) }
	slices.SortStableFunc(w.Networks, byName)
	for i := range w.Networks {
		n := &w.Networks[i]
		slices.SortStableFunc(n.Publish, func(a, b Publish) int { return cmp.Compare(a.Name, b.Name) })
		n.Allow = compactSorted(n.Allow)
		if n.DHCP != nil {
			slices.SortStableFunc(n.DHCP.Hosts, func(a, b DHCPHost) int { return cmp.Compare(a.Name, b.Name) })
		}
		slices.SortStableFunc(n.Open, func(a, b Open) int { return cmp.Compare(a.From, b.From) })
		for k := range n.Open {
			n.Open[k].Ports = compactSorted(n.Open[k].Ports)
		}
	}
	slices.SortStableFunc(w.Images, func(a, b Image) int { return cmp.Compare(a.Name, b.Name) })
	for i := range w.Images {
		for k := range w.Images[i].Service {
			w.Images[i].Service[k].setDefaults()
		}
	}
	for i := range w.Jails {
		w.Jails[i].Normalize()
	}
	slices.SortStableFunc(w.Jails, func(a, b Jail) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Index, b.Index))
	})
}

// Normalize is Wish.Normalize for one jail.
func (j *Jail) Normalize() {
	if j.Group == "" {
		j.Group = j.Name
	}
	if j.Replicas == 0 {
		j.Replicas = 1
	}
	j.Stop = cmp.Or(j.Stop, DefaultStopTimeout)
	j.Restart.Policy = cmp.Or(j.Restart.Policy, "always")
	j.Restart.Backoff = cmp.Or(j.Restart.Backoff, DefaultBackoff)
	j.Restart.MaxBackoff = cmp.Or(j.Restart.MaxBackoff, max(DefaultMaxBackoff, j.Restart.Backoff))
	j.Update.MaxParallel = cmp.Or(j.Update.MaxParallel, 1)
	slices.SortStableFunc(j.Env, func(a, b EnvVar) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortStableFunc(j.Services, func(a, b Service) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortStableFunc(j.Volumes, func(a, b Volume) int { return cmp.Compare(a.Name, b.Name) })
	j.Depends = compactSorted(j.Depends)
	for i := range j.Services {
		j.Services[i].setDefaults()
	}
}

func (s *Service) setDefaults() {
	if s.Check == nil {
		return
	}
	k := *s.Check // replicas may share it
	k.Type = cmp.Or(k.Type, "tcp")
	k.Interval = cmp.Or(k.Interval, DefaultCheckInterval)
	k.Timeout = cmp.Or(k.Timeout, DefaultCheckTimeout)
	k.Failures = cmp.Or(k.Failures, DefaultFailures)
	s.Check = &k
}

func compactSorted(s []string) []string {
	slices.Sort(s)
	return slices.Compact(s)
}

func sortedCopy(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return s
}
