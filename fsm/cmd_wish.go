package fsm

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/rexcarcer/rexcarcer/spec"
)

// decide makes the whole wish true or changes nothing: jails that are no
// longer wished go first, so that what they held can be used; networks and
// images stand before the jails that need them, and go after them.
func (c ApplyWish) decide(t *txn) *Refusal {
	w := &c.Wish
	object := "wish " + w.Name
	if err := w.Validate(); err != nil {
		return refuse(CodeInvalid, object, "%v", err)
	}
	if r := t.checkBase(object, c.Base); r != nil {
		return r
	}
	old, _ := t.wishes.get(w.Name)
	t.save()
	steps := []func(old, w *spec.Wish) *Refusal{
		t.checkOwners, t.wishDomain, t.unwishJails, t.wishNetworks, t.wishImages,
		t.wishJails, t.unwishNetworks, t.unwishImages,
	}
	if old == nil {
		old = &spec.Wish{Name: w.Name}
	}
	for _, step := range steps {
		if r := step(old, w); r != nil {
			t.rollback()
			return r
		}
	}
	if have, ok := t.wishes.get(w.Name); !ok || !sameJSON(have, w) {
		t.emit(WishApplied{w})
	}
	return nil
}

func (c DestroyWish) decide(t *txn) *Refusal {
	object := "wish " + c.Name
	old, ok := t.wishes.get(c.Name)
	if !ok {
		return refuse(CodeNotFound, object, "is not known: list wishes with `rexctl status`")
	}
	if r := t.checkBase(object, c.Base); r != nil {
		return r
	}
	t.save()
	none := &spec.Wish{Name: c.Name}
	for _, step := range []func(old, w *spec.Wish) *Refusal{t.unwishJails, t.unwishNetworks, t.unwishImages} {
		if r := step(old, none); r != nil {
			t.rollback()
			return r
		}
	}
	t.emit(WishDestroyed{c.Name})
	return nil
}

func (t *txn) checkBase(object string, base uint64) *Refusal {
	if base != 0 && t.s.PlanIndex > base {
		return refuse(CodeConflict, object, "the cluster changed at index %d, after the plan that was made at %d: plan again", t.s.PlanIndex, base)
	}
	return nil
}

// checkOwners refuses names that another wish declares.
func (t *txn) checkOwners(_, w *spec.Wish) *Refusal {
	taken := func(noun, name, owner string) *Refusal {
		return refuse(CodeInvalid, noun+" "+name, "is declared by wish %s already, and now by wish %s: rename one of them, or destroy %s first",
			owner, w.Name, owner)
	}
	leaving := func(noun, name, owner string) *Refusal {
		return refuse(CodeConflict, noun+" "+name, "still belongs to wish %s until its last jail has stopped: apply again then", owner)
	}
	for i := range w.Networks {
		n, ok := t.networks.get(w.Networks[i].Name)
		switch {
		case !ok || n.Wish == w.Name:
		case n.Gone:
			return leaving("network", n.Name, n.Wish)
		default:
			return taken("network", n.Name, n.Wish)
		}
	}
	for i := range w.Images {
		if im, ok := t.images.get(w.Images[i].Name); ok && im.Wish != w.Name && im.Wish != "" {
			return taken("image", im.Name, im.Wish)
		}
	}
	for i := range w.Jails {
		j, ok := t.jails.get(w.Jails[i].Name)
		switch {
		case !ok || j.Wish == w.Name:
		case j.Want == WantGone:
			return leaving("jail", j.Spec.Name, j.Wish)
		default:
			return taken("jail", j.Spec.Name, j.Wish)
		}
		if g, ok := t.group(w.Jails[i].Group); ok && g.Wish != w.Name {
			return taken("group", g.Name, g.Wish)
		}
	}
	return nil
}

// wishDomain lets the first wish name the domain. Later it is the key to all
// names and certificates, so it stays.
func (t *txn) wishDomain(_, w *spec.Wish) *Refusal {
	domain := strings.ToLower(w.Domain)
	if domain == "" || domain == t.s.Cluster.Domain {
		return nil
	}
	if _, _, ok := t.networks.first(""); ok {
		return refuse(CodeInvalid, "wish "+w.Name, "wants the domain %s, but the cluster's is %s: leave it out, or destroy all wishes first",
			domain, t.s.Cluster.Domain)
	}
	if _, _, ok := t.jails.first(""); ok {
		return refuse(CodeInvalid, "wish "+w.Name, "wants the domain %s, but the cluster's is %s and has jails: leave it out, or destroy all wishes first",
			domain, t.s.Cluster.Domain)
	}
	t.emit(DomainChanged{domain})
	return nil
}

// sameJSON compares what would be stored; nil and empty are the same.
func sameJSON(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}
