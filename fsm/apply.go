package fsm

import (
	"crypto/sha256"
	"fmt"
)

// maxIDs is how many ids of the newest entries are surely remembered.
const maxIDs = 8192

// New is the State before the first entry.
func New() *State { return begin(&State{}).commit() }

// Item is one entry with its place in the log and its encoding.
type Item struct {
	Index uint64
	Entry Entry
	Raw   []byte
}

// Apply folds one entry. raw is its encoding, index its place in the log: raw
// goes into Chain. A refused Command returns a *Refusal as error, and a State
// in which only Index, Now, Chain and the memory of ids moved on.
//
// An Entry without a Cmd (what could not be decoded) is refused as well, so
// that Index and Chain can move on at every host alike.
func Apply(s *State, index uint64, e Entry, raw []byte) (*State, []Happened, error) {
	next, events, errs := ApplyAll(s, []Item{{index, e, raw}})
	return next, events[0], errs[0]
}

// ApplyAll folds entries in order and publishes once. It gives what Apply
// gives one by one: the last State, and events and error of each entry.
//
// A Command that panics is refused with CodeInternal: one bad entry must not
// end every replica at every start for ever. All before it is folded again,
// because a panic leaves the transaction half changed.
func ApplyAll(s *State, items []Item) (*State, [][]Happened, []error) {
	var poisoned map[int]*Refusal
	for {
		next, events, errs, at, why := applyAll(s, items, poisoned)
		if why == nil {
			return next, events, errs
		}
		if poisoned[at] != nil {
			panic(why) // not the command's doing: Apply itself is broken
		}
		if poisoned == nil {
			poisoned = make(map[int]*Refusal)
		}
		poisoned[at] = why
	}
}

// applyAll folds until an entry panics: then at says which one, and why.
func applyAll(s *State, items []Item, poisoned map[int]*Refusal) (_ *State, _ [][]Happened, _ []error, at int, why *Refusal) {
	t := begin(s)
	events := make([][]Happened, len(items))
	errs := make([]error, len(items))
	defer func() {
		if p := recover(); p != nil {
			why = refuse(CodeInternal, fmt.Sprintf("entry %d", items[at].Index), "made this version panic, nothing was changed, please report it: %v", p)
		}
	}()
	for at = range items {
		events[at], errs[at] = t.apply(items[at], poisoned[at])
	}
	return t.commit(), events, errs, 0, nil
}

// apply is decide, then evolve. The clock of the State never goes back, even
// where a new leader's does.
//
// A poisoned entry is refused without a look. Of its refusal the State keeps
// only the code: what a panic says may differ between builds.
func (t *txn) apply(item Item, poisoned *Refusal) ([]Happened, error) {
	e := item.Entry
	t.s.Index = item.Index
	t.s.Now = max(t.s.Now, e.At)
	t.s.Chain = link(t.s.Chain, item.Raw)
	if e.ID != "" {
		if seen, ok := t.seen(e.ID); ok {
			return nil, asError(seen.Refusal)
		}
	}
	t.v, t.by, t.events = e.V, e.By, nil
	refusal, remembered := poisoned, &Refusal{Code: CodeInternal, Text: "made the program panic"}
	if poisoned == nil {
		refusal = t.decide(e.Cmd)
		remembered = refusal
	}
	if e.ID != "" {
		t.remember(e.ID, idResult{Index: item.Index, Refusal: remembered})
	}
	return t.events, asError(refusal)
}

func (t *txn) decide(c Command) *Refusal {
	if c == nil {
		return refuse(CodeInvalid, "entry", "holds no command that this version can read")
	}
	if _, first := c.(Genesis); !first && t.s.Cluster.ID == "" {
		return refuse(CodeInvalid, "cluster", "is not founded yet: genesis must be the first entry")
	}
	return c.decide(t)
}

// asError keeps a nil *Refusal from becoming an error that is not nil.
func asError(r *Refusal) error {
	if r == nil {
		return nil
	}
	return r
}

func link(chain [32]byte, raw []byte) [32]byte {
	h := sha256.New()
	h.Write(chain[:])
	h.Write(raw)
	var sum [32]byte
	h.Sum(sum[:0])
	return sum
}

func (t *txn) seen(id string) (idResult, bool) {
	if r, ok := t.young.get(id); ok {
		return r, true
	}
	return t.old.get(id)
}

func (t *txn) remember(id string, r idResult) {
	t.young.put(id, r)
	if t.young.n >= maxIDs {
		t.old = tableOf(t.young.tree())
		t.young = tableOf(Tree[idResult]{})
	}
}
