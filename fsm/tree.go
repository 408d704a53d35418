package fsm

import "strings"

// Tree is a persistent map ordered by key: a copy is a pointer, a change
// costs O(log n), and old versions stay valid. Values must never be changed
// after they were put in. The zero Tree is empty.
type Tree[V any] struct {
	root *node[V] // nil: empty
	n    int
}

// Len is the number of keys, in O(1).
func (t Tree[V]) Len() int { return t.n }

// Get returns the value of key.
func (t Tree[V]) Get(key string) (V, bool) { return t.root.get(key) }

// All visits all in key order until yield returns false; range over it.
func (t Tree[V]) All(yield func(key string, v V) bool) { t.root.each("", yield) }

// Values visits all values in key order until yield returns false; range over
// it.
func (t Tree[V]) Values(yield func(v V) bool) {
	t.root.each("", func(_ string, v V) bool { return yield(v) })
}

// From visits the keys from key on, in order; range over it.
func (t Tree[V]) From(key string) func(yield func(string, V) bool) {
	return func(yield func(string, V) bool) { t.root.each(key, yield) }
}

// Prefix visits the keys that begin with prefix, in order; range over it.
func (t Tree[V]) Prefix(prefix string) func(yield func(string, V) bool) {
	return func(yield func(string, V) bool) { t.root.prefix(prefix, yield) }
}

// Same reports whether both are the very same version, in O(1).
func (t Tree[V]) Same(u Tree[V]) bool { return t.root == u.root }

// prefix visits the keys that begin with p.
func (n *node[V]) prefix(p string, yield func(string, V) bool) {
	n.each(p, func(key string, v V) bool { return strings.HasPrefix(key, p) && yield(key, v) })
}
