package fsm

import (
	"github.com/rexcarcer/rexcarcer/spec"
)

// wishImages gives the names of w their meaning. The jails of this wish
// follow in wishJails; those of others when theirs is applied.
func (t *txn) wishImages(_, w *spec.Wish) *Refusal {
	for i := range w.Images {
		now := &Image{Image: w.Images[i], Wish: w.Name}
		if old, ok := t.images.get(now.Name); !ok || !sameJSON(old, now) {
			t.emit(ImageTagged{now})
		}
	}
	return nil
}

// unwishImages takes away the names that old declared and w does not, unless
// a jail that stays needs one: its recipe is how a host builds it.
func (t *txn) unwishImages(old, w *spec.Wish) *Refusal {
	still := make(map[string]bool, len(w.Images))
	for i := range w.Images {
		still[w.Images[i].Name] = true
	}
	var gone []string
	for i := range old.Images {
		im, ok := t.images.get(old.Images[i].Name)
		if ok && !still[im.Name] && im.Wish == w.Name {
			gone = append(gone, im.Name)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	users := t.imageUsers(gone)
	for _, name := range gone {
		if j := users[name]; j != nil {
			return refuse(CodeInvalid, "image "+name, "cannot be removed: jail %s of wish %s uses it; remove that jail first",
				j.Spec.Name, j.Wish)
		}
		t.emit(ImageUntagged{name})
	}
	return nil
}

// imageUsers finds for each name a jail that stays and uses it. It looks at
// every jail: names are rarely removed.
func (t *txn) imageUsers(names []string) map[string]*Jail {
	users := make(map[string]*Jail, len(names))
	for _, n := range names {
		users[n] = nil
	}
	t.jails.each("", func(_ string, j *Jail) bool {
		if have, asked := users[j.Spec.Image]; asked && have == nil && j.Want != WantGone {
			users[j.Spec.Image] = j
		}
		return true
	})
	return users
}
