package fsm

import (
	"iter"
	"strings"
)

// Change is one object that two States do not have alike. Before is nil where
// it is new, After is nil where it is gone; else both are pointers to the same
// type, the one that the tree of its Kind holds.
type Change struct {
	Kind   string // wish, network, image, build, jail, run, lease, guest, record, cert, host, token, denied, signer or base
	Key    string // in its tree; of no use to people where it holds an address
	Before any
	After  any
}

// Diff yields what differs between a and b, kind by kind, each in the order of
// keys. Values that both States share are passed over without a look inside,
// so what a Change holds may still be equal in all that is exported.
func Diff(a, b *State) iter.Seq[Change] {
	return func(yield func(Change) bool) {
		as, bs := a.stored(), b.stored()
		for i := range as {
			if innards[as[i].number] {
				continue
			}
			if !diffSection(as[i], bs[i], yield) {
				return
			}
		}
	}
}

// innards are what only Apply looks at.
var innards = map[byte]bool{secYoung: true, secOld: true, secLasts: true}

func diffSection(a, b section, yield func(Change) bool) bool {
	nextA, stopA := iter.Pull2(iter.Seq2[string, any](a.each))
	defer stopA()
	nextB, stopB := iter.Pull2(iter.Seq2[string, any](b.each))
	defer stopB()
	ka, va, okA := nextA()
	kb, vb, okB := nextB()
	for okA || okB {
		c := Change{Kind: a.name}
		order := strings.Compare(ka, kb)
		switch {
		case !okB || (okA && order < 0):
			c.Key, c.Before = ka, va
			ka, va, okA = nextA()
		case !okA || order > 0:
			c.Key, c.After = kb, vb
			kb, vb, okB = nextB()
		default:
			c.Key, c.Before, c.After = ka, va, vb
			ka, va, okA = nextA()
			kb, vb, okB = nextB()
		}
		if c.Before != c.After && !yield(c) {
			return false
		}
	}
	return true
}
