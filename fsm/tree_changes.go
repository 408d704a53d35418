package fsm

import "bytes"

// Changes visits, in order, the keys whose values are not the same in old and
// now, until yield returns false; range over it. It walks along both once: some
// 100 ns a key, changed or not.
func Changes[V comparable](old, now Tree[V]) func(yield func(key string) bool) {
	return func(yield func(string) bool) {
		if old.t == now.t {
			return
		}
		nextOld, nextNow := old.walk(), now.walk()
		ka, a, okA := nextOld()
		kb, b, okB := nextNow()
		for okA || okB {
			order := 0
			switch {
			case !okB:
				order = -1
			case !okA:
				order = 1
			default:
				order = bytes.Compare(ka, kb)
			}
			key := ka
			if order > 0 {
				key = kb
			}
			if (order != 0 || a != b) && !yield(string(key)) {
				return
			}
			if order <= 0 {
				ka, a, okA = nextOld()
			}
			if order >= 0 {
				kb, b, okB = nextNow()
			}
		}
	}
}

// walk is a function that returns the next key and value.
func (t Tree[V]) walk() func() ([]byte, V, bool) {
	if t.t == nil {
		return func() (k []byte, v V, ok bool) { return nil, v, false }
	}
	return t.t.Root().Iterator().Next
}
