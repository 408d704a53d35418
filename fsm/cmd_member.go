package fsm

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
)

func (c LabelHost) decide(t *txn) *Refusal {
	old, ok := t.hosts.get(string(c.Host))
	if !ok {
		return noHost(c.Host)
	}
	now := *old
	now.Labels, now.Set = maps.Clone(old.Labels), maps.Clone(old.Set)
	for _, k := range c.Remove {
		delete(now.Labels, k)
		delete(now.Set, k)
	}
	for k, v := range c.Set {
		if k == "" || len(k) > 128 || len(v) > 256 || strings.ContainsAny(k+v, "=\n ") {
			return refuse(CodeInvalid, "host "+old.Name, "label %.128q: want KEY or KEY=VALUE without blanks, at most 128 and 256 characters", k)
		}
		put(&now.Labels, k, v)
		put(&now.Set, k, v)
	}
	switch {
	case isHost(t.by) && !speaksFor(t.by, c.Host):
		return refuse(CodeFenced, "host "+old.Name, "%s cannot label it", t.by)
	case len(now.Labels) > 256:
		return refuse(CodeInvalid, "host "+old.Name, "more than 256 labels")
	case maps.Equal(now.Labels, old.Labels) && maps.Equal(now.Set, old.Set):
		return nil
	}
	t.emit(HostLabeled{&now})
	return nil
}

func put(m *map[string]string, k, v string) {
	if *m == nil {
		*m = map[string]string{}
	}
	(*m)[k] = v
}

// decide walks over all builds: hosts are removed seldom.
func (c RemoveHost) decide(t *txn) *Refusal {
	old, ok := t.hosts.get(string(c.Host))
	if !ok {
		if _, out := t.denied.get(string(c.Host)); out {
			return nil
		}
		return noHost(c.Host)
	}
	object := "host " + old.Name
	_, _, busy := t.byHost.first(string(c.Host) + "/")
	switch {
	case isHost(t.by):
		return refuse(CodeFenced, object, "%s cannot remove it: only users may", t.by)
	case len(c.Why) > maxReason:
		return refuse(CodeInvalid, object, "the reason has %d bytes, %d are the most", len(c.Why), maxReason)
	case !c.Force && old.State == HostAlive:
		return refuse(CodeConflict, object, "is alive: `rexctl host drain %s` first, or remove it with --force", old.Name)
	case !c.Force && old.State == HostDraining && busy:
		return refuse(CodeConflict, object, "still has jails: wait until it is drained, or remove it with --force")
	}
	t.failMoves(old, "host "+old.Name+" was removed")
	t.loseRuns(old, strings.TrimSuffix("removed: "+c.Why, ": "))
	t.moveHostRemoved(c.Host)
	var held []*Build
	t.builds.each("", func(_ string, b *Build) bool {
		if slices.Contains(b.Hosts, c.Host) {
			held = append(held, b)
		}
		return true
	})
	for _, b := range held {
		now := *b
		now.Hosts = slices.DeleteFunc(slices.Clone(b.Hosts), func(h HostID) bool { return h == c.Host })
		t.emit(BuildReported{&now})
	}
	t.emit(HostRemoved{&Denied{Host: c.Host, Name: old.Name, At: t.s.Now, FencedAt: max(c.Fence, old.FencedAt), Why: c.Why}})
	return nil
}

func noHost(h HostID) *Refusal {
	return refuse(CodeNotFound, "host "+string(h), "is not known: list hosts with `rexctl host ls`")
}

func (c RotateGossip) decide(t *txn) *Refusal {
	switch {
	case len(c.Key) != 32:
		return refuse(CodeInvalid, "gossip key", "has %d bytes, want 32", len(c.Key))
	case isHost(t.by):
		return refuse(CodeFenced, "gossip key", "%s cannot change it", t.by)
	case t.s.Cluster.GossipKeys[0] == hex.EncodeToString(c.Key):
		return nil
	}
	sum := sha256.Sum256(c.Key)
	keys := t.s.Cluster.GossipKeys
	copy(keys[1:], keys[:])
	keys[0] = hex.EncodeToString(c.Key)
	t.emit(GossipRotated{hex.EncodeToString(sum[:4]), keys})
	return nil
}

func (c RaiseGeneration) decide(t *txn) *Refusal {
	now := t.s.Cluster.Generation
	switch {
	case isHost(t.by):
		return refuse(CodeFenced, "cluster "+t.s.Cluster.ID, "%s cannot raise its generation", t.by)
	case c.Generation == now:
		return nil
	case c.Generation < now:
		return refuse(CodeConflict, "cluster "+t.s.Cluster.ID, "is of generation %d already", now)
	}
	t.emit(GenerationRaised{t.s.Cluster.ID, c.Generation, c.Why})
	return nil
}
