package fsm

import (
	"crypto/sha256"
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
// that Index and Chain move on at every host alike.
func Apply(s *State, index uint64, e Entry, raw []byte) (*State, []Happened, error) {
	t := begin(s)
	events, err := t.apply(Item{index, e, raw})
	return t.commit(), events, err
}

// ApplyAll folds entries in order and publishes once. It gives what Apply
// gives one by one: the last State, and events and error of each entry.
func ApplyAll(s *State, items []Item) (*State, [][]Happened, []error) {
	t := begin(s)
	events := make([][]Happened, len(items))
	errs := make([]error, len(items))
	for i, item := range items {
		events[i], errs[i] = t.apply(item)
	}
	return t.commit(), events, errs
}

// apply is decide, then evolve. The clock of the State never goes back, even
// where a new leader's does.
func (t *txn) apply(item Item) ([]Happened, error) {
	e := item.Entry
	t.s.Index = item.Index
	t.s.Now = max(t.s.Now, e.At)
	t.s.Chain = link(t.s.Chain, item.Raw)
	if e.ID != "" {
		if seen, ok := t.seen(e.ID); ok {
			return nil, asError(seen.Refusal)
		}
	}
	t.by, t.events = e.By, nil
	refusal := t.decide(e.Cmd)
	if e.ID != "" {
		t.remember(e.ID, idResult{Index: item.Index, Refusal: refusal})
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
