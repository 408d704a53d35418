package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

// jailChanges lists what differs between two wishes for a jail, each as
// "what old -> new". Values of env are not shown: they may be secret.
func jailChanges(old, now *fsm.Jail) []string {
	a, b := &old.Spec, &now.Spec
	var c []string
	add := func(more []string) { c = append(c, more...) }
	add(imageChange(a, b))
	add(changed("memory", limitBytes(a.Limits.MemoryBytes), limitBytes(b.Limits.MemoryBytes)))
	add(changed("cpu", limit(a.Limits.CPU), limit(b.Limits.CPU)))
	add(changed("processes", limit(a.Limits.Processes), limit(b.Limits.Processes)))
	add(changed("open_files", limit(a.Limits.OpenFiles), limit(b.Limits.OpenFiles)))
	add(changed("cpuset", orNone(a.Limits.CPUSet), orNone(b.Limits.CPUSet)))
	add(changed("addresses", addressList(old), addressList(now)))
	add(changed("hostname", orNone(a.Hostname), orNone(b.Hostname)))
	add(changed("command", argv(a.Command), argv(b.Command)))
	add(named("env", envMap(a.Env), envMap(b.Env)))
	add(changed("user", orNone(a.User), orNone(b.User)))
	add(changed("workdir", orNone(a.WorkDir), orNone(b.WorkDir)))
	add(changed("ephemeral", onOff(a.Ephemeral), onOff(b.Ephemeral)))
	add(changed("socket", onOff(a.Socket), onOff(b.Socket)))
	add(changed("fence", onOff(!a.NoFence), onOff(!b.NoFence)))
	add(named("services", serviceMap(a.Services), serviceMap(b.Services)))
	add(named("volumes", volumeMap(a.Volumes), volumeMap(b.Volumes)))
	add(lists("depends_on", a.Depends, b.Depends))
	add(changed("restart", restartText(a.Restart), restartText(b.Restart)))
	add(changed("update", updateText(a.Update), updateText(b.Update)))
	add(changed("placement", placeText(a.Place), placeText(b.Place)))
	add(changed("stop_timeout", a.Stop.String(), b.Stop.String()))
	add(changed("count", fmt.Sprint(a.Replicas), fmt.Sprint(b.Replicas)))
	add(changed("runtime", platformText(a), platformText(b)))
	if old.Want != now.Want && old.Want != "" {
		add(changed("wanted", string(old.Want), string(now.Want)))
	}
	if len(c) == 0 {
		c = append(c, "defaults of its image")
	}
	return c
}

func imageChange(a, b *spec.Jail) []string {
	if a.Image != b.Image {
		return changed("image", a.Image, b.Image)
	}
	return changed("image "+b.Image, shortKey(a.ImageKey), shortKey(b.ImageKey))
}

// changed is one "what old -> new", or nothing if both are the same.
func changed(what, old, now string) []string {
	if old == now {
		return nil
	}
	return []string{what + " " + old + " -> " + now}
}

// lists is "what +new -gone", or nothing.
func lists(what string, old, now []string) []string {
	var d []string
	for _, v := range now {
		if !slices.Contains(old, v) {
			d = append(d, "+"+v)
		}
	}
	for _, v := range old {
		if !slices.Contains(now, v) {
			d = append(d, "-"+v)
		}
	}
	if len(d) == 0 {
		return nil
	}
	return []string{what + " " + strings.Join(d, " ")}
}

// pair is a name with a value of which only the equality is looked at.
type pair struct{ name, value string }

// named is "what +new ~other -gone" by name, or nothing.
func named(what string, old, now []pair) []string {
	find := func(in []pair, name string) (string, bool) {
		for i := len(in) - 1; i >= 0; i-- {
			if in[i].name == name {
				return in[i].value, true
			}
		}
		return "", false
	}
	var d []string
	for _, p := range now {
		switch v, ok := find(old, p.name); {
		case !ok:
			d = append(d, "+"+p.name)
		case v != p.value:
			d = append(d, "~"+p.name)
		}
	}
	for _, p := range old {
		if _, ok := find(now, p.name); !ok {
			d = append(d, "-"+p.name)
		}
	}
	if len(d) == 0 {
		return nil
	}
	return []string{what + " " + strings.Join(slices.Compact(d), " ")}
}

func envMap(env []spec.EnvVar) []pair {
	var all []pair
	for _, e := range env {
		all = append(all, pair{e.Name, e.Value})
	}
	return all
}

func serviceMap(ss []spec.Service) []pair {
	var all []pair
	for i := range ss {
		s := &ss[i]
		v := fmt.Sprint(s.Port, s.Proto)
		if s.Check != nil {
			v += fmt.Sprintf(" %+v", *s.Check)
		}
		all = append(all, pair{s.Name, v})
	}
	return all
}

func volumeMap(vs []spec.Volume) []pair {
	var all []pair
	for _, v := range vs {
		all = append(all, pair{v.Name, fmt.Sprintf("%+v", v)})
	}
	return all
}
