package transfer

import (
	"fmt"
	"slices"

	"github.com/rexcarcer/rexcarcer/zfssync"
)

// Inventory is what a host has of some objects: their snapshots, oldest first.
type Inventory map[zfssync.Object][]zfssync.Snapshot

// Step is one stream to receive.
type Step struct {
	Snapshot zfssync.Snapshot // as the source describes it
	From     string           // GUID that the difference stands on; "" is all of it
}

// String tells the step to a person.
func (s Step) String() string {
	if s.From == "" {
		return fmt.Sprintf("all of %s@%s", s.Snapshot.Object, s.Snapshot.Name)
	}
	return fmt.Sprintf("%s@%s from %s on", s.Snapshot.Object, s.Snapshot.Name, s.From)
}

// Conflict is why no stream can make here what is there. It carries both sides' facts.
type Conflict struct {
	Object        zfssync.Object
	Local, Remote []zfssync.Snapshot
	Why           string
}

// Error says why, with the last snapshots of both sides.
func (c *Conflict) Error() string {
	return fmt.Sprintf("%s: %s (here: %s; there: %s)", c.Object, c.Why, lastOf(c.Local), lastOf(c.Remote))
}

func lastOf(list []zfssync.Snapshot) string {
	if len(list) == 0 {
		return "none"
	}
	s := list[len(list)-1]
	return fmt.Sprintf("@%s guid %.20s, %d in all", s.Name, s.GUID, len(list))
}

// Diff says which streams bring the snapshot guid of o ("" is the newest) from remote to local, in the order in which
// they must be received: nothing when it is here, the difference over the newest snapshot that both have, the
// difference over its origin after the steps that bring that origin, or all of it. It changes neither side.
func Diff(local, remote Inventory, o zfssync.Object, guid string) ([]Step, error) {
	return (&differ{local: local, remote: remote, coming: map[string]bool{}}).steps(o, guid)
}

type differ struct {
	local, remote Inventory
	coming        map[string]bool // objects on the way down: a peer may describe a ring
}

func (d *differ) steps(o zfssync.Object, guid string) ([]Step, error) {
	here, there := d.local[o], d.remote[o]
	conflict := func(why string) error { return &Conflict{Object: o, Local: here, Remote: there, Why: why} }
	at := len(there) - 1
	if guid != "" {
		at = slices.IndexFunc(there, func(s zfssync.Snapshot) bool { return s.GUID == guid })
	}
	if at < 0 {
		return nil, conflict("the source does not have the snapshot")
	}
	want := there[at]
	if has(here, want.GUID) || byName(want) && len(here) > 0 {
		return nil, nil
	}
	if len(here) > 0 && o.Kind == zfssync.KindLayer {
		return nil, conflict("it was built on both hosts separately: remove the image here, or build it here")
	}
	from, why := common(here, there[:at])
	if why != "" {
		return nil, conflict(why)
	}
	if from != "" && (want.Format == zfssync.FormatZFS || want.Over == from) { // tar seldom knows a difference between two snapshots
		return []Step{{Snapshot: want, From: from}}, nil
	}
	if want.Origin == "" {
		return []Step{{Snapshot: want}}, nil
	}
	below, err := d.origin(want)
	if err != nil {
		return nil, err
	}
	return append(below, Step{Snapshot: want, From: want.Origin}), nil
}

// common returns the newest snapshot that both sides have, "" when there is none here at all. A difference stands on the
// newest one here, and whatever is newer here would be lost.
func common(here, older []zfssync.Snapshot) (from, conflict string) {
	if len(here) == 0 {
		return "", ""
	}
	for _, s := range slices.Backward(older) {
		if !has(here, s.GUID) {
			continue
		}
		if here[len(here)-1].GUID != s.GUID {
			return "", "there are newer snapshots here that the source does not have: drop them, or roll back"
		}
		return s.GUID, ""
	}
	return "", "both hosts have snapshots of it, and none in common: rename or remove one of the two"
}

// origin returns the steps that bring what s was cloned from.
func (d *differ) origin(s zfssync.Snapshot) ([]Step, error) {
	for _, list := range d.local {
		if has(list, s.Origin) {
			return nil, nil
		}
	}
	o := zfssync.Object{Kind: zfssync.KindLayer, Name: s.Layer}
	if byName(s) && len(d.local[o]) > 0 {
		return nil, nil
	}
	if d.coming[s.Origin] || !has(d.remote[o], s.Origin) {
		return nil, &Conflict{Object: s.Object, Remote: d.remote[o], Local: d.local[o], Why: fmt.Sprintf("what it stands on (%s, guid %s) is not to be had", o, s.Origin)}
	}
	d.coming[s.Origin] = true
	return d.steps(o, s.Origin)
}

// byName reports whether s is a layer as tar: what it stands on and what it gives has the layer's name, whoever made it. A
// GUID of ZFS says nothing about it.
func byName(s zfssync.Snapshot) bool {
	return s.Object.Kind == zfssync.KindLayer && s.Format == zfssync.FormatTar
}

func has(list []zfssync.Snapshot, guid string) bool {
	return slices.ContainsFunc(list, func(s zfssync.Snapshot) bool { return s.GUID == guid })
}
