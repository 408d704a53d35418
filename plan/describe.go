package plan

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

// Short texts for values, the same wherever a plan shows them.

func restartText(r spec.Restart) string {
	s := r.Policy + " " + r.Backoff.String() + ".." + r.MaxBackoff.String()
	if r.Attempts > 0 {
		s += fmt.Sprintf(" at most %d", r.Attempts)
	}
	return s
}

func updateText(u spec.Update) string {
	s := fmt.Sprintf("%d at once", u.MaxParallel)
	if u.MinHealthy > 0 {
		s += " healthy " + u.MinHealthy.String()
	}
	return s
}

func placeText(p spec.Placement) string {
	var parts []string
	add := func(what, v string) {
		if v != "" {
			parts = append(parts, what+" "+v)
		}
	}
	add("host", p.Host)
	add("spread", p.Spread)
	add("constraint", strings.Join(p.Constraint, " and "))
	add("affinity", strings.Join(p.Affinity, ", "))
	if p.BinPack {
		parts = append(parts, "binpack")
	}
	if p.Priority != 0 {
		add("priority", fmt.Sprint(p.Priority))
	}
	return "(" + strings.Join(parts, ", ") + ")"
}

func platformText(j *spec.Jail) string {
	return orNone(strings.Join(slices.DeleteFunc([]string{j.Runtime, j.OS, j.Arch}, func(s string) bool { return s == "" }), "/"))
}

func addressList(j *fsm.Jail) string {
	var all []string
	for _, a := range addresses(j) {
		all = append(all, a.Address)
	}
	return orNone(strings.Join(all, " "))
}

func argv(args []string) string {
	const most = 40
	s := strings.Join(args, " ")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return fmt.Sprintf("%q", s)
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func limit[N int64 | float64](n N) string {
	if n == 0 {
		return "none"
	}
	return fmt.Sprint(n)
}

func limitBytes(n int64) string {
	if n == 0 {
		return "none"
	}
	return bytesText(n)
}

// bytesText writes n with the largest unit that needs no fraction.
func bytesText(n int64) string {
	units := "BKMGTP"
	i := 0
	for n > 0 && n%1024 == 0 && i < len(units)-1 {
		n /= 1024
		i++
	}
	return fmt.Sprintf("%d%c", n, units[i])
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}

func prefixText(p netip.Prefix) string {
	if !p.IsValid() {
		return "none"
	}
	return p.String()
}

func shortKey(k string) string {
	const digits = 8
	k = strings.TrimPrefix(k, "sha256:")
	return orNone(k[:min(digits, len(k))])
}

func protoName(p string) string {
	if p == "" {
		return "tcp"
	}
	return p
}

func portText(port uint16, proto string) string { return fmt.Sprintf("%d/%s", port, protoName(proto)) }

func publishPort(p *spec.Publish) Port {
	return Port{Service: p.Service, Port: p.Port, Proto: protoName(p.Proto)}
}

func publishNames(ps []spec.Publish) []string {
	var all []string
	for _, p := range ps {
		all = append(all, p.Name)
	}
	return all
}

// allowNames are the networks that may connect to n, each with its ports if it is not all of them.
func allowNames(n *spec.Network) []string {
	all := append([]string(nil), n.Allow...)
	for _, o := range n.Open {
		all = append(all, o.From+" ("+strings.Join(o.Ports, ", ")+")")
	}
	return all
}

func drainText(p *spec.Publish) string { return cmp.Or(p.Drain, spec.DefaultDrain).String() }

// volumeSet is the volumes of a jail that are datasets of their own.
type volumeSet struct {
	names []string
	by    map[string]*spec.Volume
}

func ownVolumes(s *fsm.State, jail string) volumeSet {
	set := volumeSet{by: map[string]*spec.Volume{}}
	j, ok := s.Jails.Get(jail)
	if !ok {
		return set
	}
	for i := range j.Spec.Volumes {
		if v := &j.Spec.Volumes[i]; v.Source == "" {
			set.names = append(set.names, v.Name)
			set.by[v.Name] = v
		}
	}
	return set
}

func volumeText(v *spec.Volume) string {
	s := v.Path
	if v.QuotaBytes > 0 {
		s += ", at most " + bytesText(v.QuotaBytes)
	}
	if v.ReadOnly {
		s += ", read only"
	}
	return s
}

func volumeChanges(a, b *spec.Volume) []string {
	c := changed("path", a.Path, b.Path)
	c = append(c, changed("quota", limitBytes(a.QuotaBytes), limitBytes(b.QuotaBytes))...)
	return append(c, changed("read_only", onOff(a.ReadOnly), onOff(b.ReadOnly))...)
}
