package fsm

import "slices"

// A Tree is a B+ tree whose nodes are copied before they change, unless the
// table that changes them has made them itself. Of 100,000 keys each costs some
// 35 bytes beside key and value; a radix tree with a channel in every node took
// 450, and was half of the State.

// wide is how many keys a node has at most. A single change copies one node a
// level; a pass along all keys is the faster the wider they are.
const wide = 32

// node is a leaf, with values, or has kids: kids[i] holds the keys from keys[i]
// up to keys[i+1]. keys[0] of a node with kids means nothing: what is below all
// is there too. All leaves are equally deep, and none is empty.
type node[V any] struct {
	own  *owner // the table that may change it in place, while it has this
	keys []string
	vals []V
	kids []*node[V]
}

// owner is a mark that only one table has.
type owner struct{ _ byte }

// child is which of n's kids holds key, if one does.
func (n *node[V]) child(key string) int {
	i, found := slices.BinarySearch(n.keys[1:], key)
	if found {
		i++
	}
	return i
}

func (n *node[V]) get(key string) (v V, ok bool) {
	if n == nil {
		return v, false
	}
	for n.kids != nil {
		n = n.kids[n.child(key)]
	}
	if i, found := slices.BinarySearch(n.keys, key); found {
		return n.vals[i], true
	}
	return v, false
}

// each visits the keys from from on, in order, until yield returns false.
func (n *node[V]) each(from string, yield func(string, V) bool) bool {
	i := 0
	switch {
	case n == nil:
		return true
	case n.kids == nil:
		if from != "" {
			i, _ = slices.BinarySearch(n.keys, from)
		}
		for ; i < len(n.keys); i++ {
			if !yield(n.keys[i], n.vals[i]) {
				return false
			}
		}
		return true
	case from != "":
		i = n.child(from)
	}
	for ; i < len(n.kids); i++ {
		if !n.kids[i].each(from, yield) {
			return false
		}
		from = "" // the others are above it
	}
	return true
}

// mine is n, or a copy of it that own may change.
func (n *node[V]) mine(own *owner) *node[V] {
	if n.own == own {
		return n
	}
	return &node[V]{own: own, keys: roomy(n.keys), vals: roomy(n.vals), kids: roomy(n.kids)}
}

// roomy is a copy of s with room for one more; nil stays nil.
func roomy[T any](s []T) []T {
	if s == nil {
		return nil
	}
	return append(make([]T, 0, len(s)+1), s...)
}

// insert puts v at key. It returns what n has become, and a second node for the
// keys from its first one on, where one did not suffice.
func (n *node[V]) insert(own *owner, key string, v V) (left, right *node[V], had bool) {
	n = n.mine(own)
	if n.kids == nil {
		i, found := slices.BinarySearch(n.keys, key)
		if found {
			n.keys[i], n.vals[i] = key, v // the new key is part of the new value, often: the old one may go
			return n, nil, true
		}
		n.keys, n.vals = slices.Insert(n.keys, i, key), slices.Insert(n.vals, i, v)
		return n, n.split(i), false
	}
	i := n.child(key)
	n.kids[i], right, had = n.kids[i].insert(own, key, v)
	if right == nil {
		return n, nil, had
	}
	i++
	n.keys, n.kids = slices.Insert(n.keys, i, right.keys[0]), slices.Insert(n.kids, i, right)
	return n, n.split(i), had
}

// split takes the upper part off a node that is too wide; last is where it has
// grown. Keys that come in order leave full nodes behind.
func (n *node[V]) split(last int) *node[V] {
	if len(n.keys) <= wide {
		return nil
	}
	cut := len(n.keys) / 2
	if last == len(n.keys)-1 {
		cut = last
	}
	right := &node[V]{own: n.own, keys: slices.Clone(n.keys[cut:])}
	n.keys = slices.Clone(n.keys[:cut]) // not cut off: there is room for twice as many, and what it held would stay
	if n.kids == nil {
		right.vals, n.vals = slices.Clone(n.vals[cut:]), slices.Clone(n.vals[:cut])
	} else {
		right.kids, n.kids = slices.Clone(n.kids[cut:]), slices.Clone(n.kids[:cut])
	}
	return right
}

// remove takes out key, which is there, and returns what n has become; nil:
// nothing is left of it.
func (n *node[V]) remove(own *owner, key string) *node[V] {
	n = n.mine(own)
	if n.kids == nil {
		i, _ := slices.BinarySearch(n.keys, key)
		n.keys, n.vals = slices.Delete(n.keys, i, i+1), slices.Delete(n.vals, i, i+1)
	} else {
		i := n.child(key)
		if kid := n.kids[i].remove(own, key); kid != nil {
			n.kids[i] = kid
			n.join(own, i)
		} else {
			n.keys, n.kids = slices.Delete(n.keys, i, i+1), slices.Delete(n.kids, i, i+1)
		}
	}
	if len(n.keys) == 0 {
		return nil
	}
	return n
}

// join makes one of kid i and the one beside it, if the two are narrow.
func (n *node[V]) join(own *owner, i int) {
	if len(n.kids) == 1 || len(n.kids[i].keys) >= wide/4 {
		return
	}
	i = max(i, 1) // of i-1 and i
	left, right := n.kids[i-1], n.kids[i]
	if len(left.keys)+len(right.keys) > wide*3/4 {
		return
	}
	left = left.mine(own)
	from := len(left.keys)
	left.keys, left.vals, left.kids = append(left.keys, right.keys...), append(left.vals, right.vals...), append(left.kids, right.kids...)
	if left.kids != nil {
		left.keys[from] = n.keys[i] // right's first meant nothing
	}
	n.kids[i-1] = left
	n.keys, n.kids = slices.Delete(n.keys, i, i+1), slices.Delete(n.kids, i, i+1)
}
