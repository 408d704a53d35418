package spec

import (
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

func (d *decoder) services(k *block, j *Jail) {
	first := make(map[string]bool)
	for _, b := range k.inner("service") {
		name, ok := d.label(b, "service")
		if !ok || d.twice(first, b, k.what+": service", name) {
			continue
		}
		s := d.block(k.path+"/service/"+name, k.what+`: service "`+name+`"`, b.Body, blockSpan(b), k.self)
		s.need("port")
		out := Service{
			Name:  name,
			Port:  uint16(s.number("port", 0, 1, 65535)),
			Proto: strings.TrimPrefix(s.text("proto", ""), "tcp"),
		}
		if c := s.single("check"); c != nil {
			out.Check = &Check{
				Type:     c.text("type", "tcp"),
				Path:     c.text("path", ""),
				Command:  c.list("command", false, `command = ["PROGRAM", "ARGUMENT"]`),
				Interval: c.duration("interval", DefaultCheckInterval),
				Timeout:  c.duration("timeout", DefaultCheckTimeout),
				Grace:    c.duration("grace", 0),
				Failures: c.number("failures", DefaultFailures, 1, 1000),
			}
			if out.Check.Type == "http" && out.Check.Path == "" {
				out.Check.Path = "/"
			}
			c.finish()
		}
		s.finish("check")
		j.Services = append(j.Services, out)
	}
}

// twice reports a label that was there before in the same block.
func (d *decoder) twice(seen map[string]bool, b *hclsyntax.Block, what, name string) bool {
	if seen[name] {
		d.failAt(blockSpan(b), "", "%s %q is there twice", what, name)
		return true
	}
	seen[name] = true
	return false
}

func (d *decoder) volumes(k *block, j *Jail) {
	first := make(map[string]bool)
	for _, b := range k.inner("volume") {
		name, ok := d.label(b, "volume")
		if !ok || d.twice(first, b, k.what+": volume", name) {
			continue
		}
		v := d.block(k.path+"/volume/"+name, k.what+`: volume "`+name+`"`, b.Body, blockSpan(b), k.self)
		v.need("path")
		j.Volumes = append(j.Volumes, Volume{
			Name: name, Path: v.text("path", ""), QuotaBytes: v.size("quota"),
			Source: v.text("source", ""), ReadOnly: v.flag("read_only"),
			Snapshot: v.flag("snapshot_before_change"),
		})
		v.finish()
	}
}

// pacing reads limits, restart and update.
func (d *decoder) pacing(k *block, j *Jail) {
	if l := k.single("limits"); l != nil {
		j.Limits = Limits{
			MemoryBytes: l.size("memory"), CPU: l.fraction("cpu"),
			Processes: int64(l.number("processes", 0, 1, 4<<20)), OpenFiles: int64(l.number("open_files", 0, 1, 16<<20)),
			CPUSet: l.text("cpuset", ""),
		}
		l.finish()
	}
	j.Restart = Restart{Policy: "always", Backoff: DefaultBackoff, MaxBackoff: DefaultMaxBackoff}
	if r := k.single("restart"); r != nil {
		j.Restart.Policy = r.text("policy", "always")
		j.Restart.Backoff = r.duration("backoff", DefaultBackoff)
		j.Restart.MaxBackoff = r.duration("max_backoff", max(DefaultMaxBackoff, j.Restart.Backoff))
		j.Restart.Attempts = r.number("attempts", 0, 0, 10_000)
		r.finish()
	}
	j.Update = Update{MaxParallel: 1}
	if u := k.single("update"); u != nil {
		j.Update.MaxParallel = u.number("max_parallel", 1, 1, MaxCount)
		j.Update.MinHealthy = u.duration("min_healthy", 0)
		u.finish()
	}
}

func (d *decoder) placement(k *block, j *Jail) {
	p := k.single("placement")
	if p == nil {
		return
	}
	j.Place = Placement{
		Spread:     strings.TrimPrefix(p.text("spread", ""), "label."),
		Constraint: p.list("constraint", true, `constraint = "os == freebsd"`),
		Affinity:   p.list("affinity", true, `affinity = "ssd"`),
		BinPack:    p.flag("binpack"),
		Priority:   p.number("priority", 50, 1, 100),
		Host:       p.text("host", ""),
	}
	if j.Place.Priority == 50 {
		j.Place.Priority = 0 // how the Wish writes the default
	}
	p.finish()
}
