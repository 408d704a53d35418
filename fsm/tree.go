package fsm

import (
	"bytes"

	iradix "github.com/hashicorp/go-immutable-radix/v2"
)

// Tree is a persistent map ordered by key: a copy is a pointer, a change
// costs O(key length), and old versions stay valid. Values must never be
// changed after they were put in.
type Tree[V any] struct{ t *iradix.Tree[V] }

// Len is the number of keys, in O(1).
func (t Tree[V]) Len() int {
	if t.t == nil {
		return 0
	}
	return t.t.Len()
}

// Get returns the value of key.
func (t Tree[V]) Get(key string) (V, bool) {
	if t.t == nil {
		var zero V
		return zero, false
	}
	return t.t.Get([]byte(key))
}

// All visits all in key order until yield returns false; range over it.
func (t Tree[V]) All(yield func(key string, v V) bool) { t.Prefix("")(yield) }

// Values visits all values in key order until yield returns false; range over
// it. It makes no strings of the keys: large Trees are read at half the cost.
func (t Tree[V]) Values(yield func(v V) bool) {
	if t.t == nil {
		return
	}
	it := t.t.Root().Iterator()
	for _, v, ok := it.Next(); ok; _, v, ok = it.Next() {
		if !yield(v) {
			return
		}
	}
}

// Prefix visits the keys that begin with prefix, in order; range over it.
func (t Tree[V]) Prefix(prefix string) func(yield func(string, V) bool) {
	return func(yield func(string, V) bool) {
		if t.t == nil {
			return
		}
		it := t.t.Root().Iterator()
		it.SeekPrefix([]byte(prefix))
		for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
			if !yield(string(k), v) {
				return
			}
		}
	}
}

// Same reports whether both are the very same version, in O(1).
func (t Tree[V]) Same(u Tree[V]) bool { return t.t == u.t }

// Beside visits all values of a in key order, each with b's value of the same
// key, or the zero value where b has none; range over it. It walks along both
// once, and searches for nothing.
func Beside[A, B any](a Tree[A], b Tree[B]) func(yield func(v A, w B) bool) {
	return func(yield func(A, B) bool) {
		if a.t == nil {
			return
		}
		var none B
		nextB := func() ([]byte, B, bool) { return nil, none, false }
		if b.t != nil {
			nextB = b.t.Root().Iterator().Next
		}
		kb, w, ok := nextB()
		it := a.t.Root().Iterator()
		for ka, v, more := it.Next(); more; ka, v, more = it.Next() {
			order := -1 // of ka to kb
			for ok {
				if order = bytes.Compare(ka, kb); order <= 0 {
					break
				}
				kb, w, ok = nextB()
			}
			with := none
			if ok && order == 0 {
				with = w
			}
			if !yield(v, with) {
				return
			}
		}
	}
}
