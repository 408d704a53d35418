package fsm

// walk goes along the keys of a Tree. It holds the way from the root to where
// it is: nodes, and the next key or kid of each.
type walk[V any] struct {
	way    []step[V]
	height int // of the root; a leaf has 0
}

type step[V any] struct {
	n *node[V]
	i int
}

// walkFrom begins at key.
func (t Tree[V]) walkFrom(key string) *walk[V] {
	w := &walk[V]{way: make([]step[V], 0, 6)}
	n := t.root
	if n == nil {
		return w
	}
	for ; n.kids != nil; w.height++ {
		i := 0
		if key != "" {
			i = n.child(key)
		}
		w.way = append(w.way, step[V]{n, i + 1})
		n = n.kids[i]
	}
	i := 0
	for i < len(n.keys) && n.keys[i] < key {
		i++
	}
	w.way = append(w.way, step[V]{n, i})
	return w
}

// climb leaves the nodes that are done, and returns the step that is not; nil:
// the end.
func (w *walk[V]) climb() *step[V] {
	for len(w.way) > 0 {
		s := &w.way[len(w.way)-1]
		if s.i < len(s.n.keys) {
			return s
		}
		w.way = w.way[:len(w.way)-1]
	}
	return nil
}

// enter goes down into the next kid of s.
func (w *walk[V]) enter(s *step[V]) {
	kid := s.n.kids[s.i]
	s.i++
	w.way = append(w.way, step[V]{kid, 0})
}

// next returns the next key and its value.
func (w *walk[V]) next() (key string, v V, ok bool) {
	for {
		s := w.climb()
		switch {
		case s == nil:
			return "", v, false
		case s.n.kids == nil:
			s.i++
			return s.n.keys[s.i-1], s.n.vals[s.i-1], true
		}
		w.enter(s)
	}
}

// skipShared leaves out what comes next in both and is the same nodes.
func skipShared[V any](a, b *walk[V]) {
	for {
		s, u := a.climb(), b.climb()
		switch {
		case s == nil || u == nil:
			return
		case s.n == u.n && s.i == u.i: // both are in it, at the same place
			s.i, u.i = len(s.n.keys), len(u.n.keys)
		case s.n.kids == nil && u.n.kids == nil:
			return
		case s.n.kids == nil:
			b.enter(u)
		case u.n.kids == nil:
			a.enter(s)
		case s.n.kids[s.i] == u.n.kids[u.i]:
			s.i++
			u.i++
		default: // into the one that is taller, or both
			over := (a.height - len(a.way)) - (b.height - len(b.way))
			if over >= 0 {
				a.enter(s)
			}
			if over <= 0 {
				b.enter(u)
			}
		}
	}
}

// Beside visits all values of a in key order, each with b's value of the same
// key, or the zero value where b has none; range over it. It walks along both
// once, and searches for nothing.
func Beside[A, B any](a Tree[A], b Tree[B]) func(yield func(v A, w B) bool) {
	return BesideFrom(a, b, "")
}

// BesideFrom is Beside from key on.
func BesideFrom[A, B any](a Tree[A], b Tree[B], key string) func(yield func(v A, w B) bool) {
	return func(yield func(A, B) bool) {
		beside := b.walkFrom(key)
		kb, w, ok := beside.next()
		a.root.each(key, func(ka string, v A) bool {
			for ok && kb < ka {
				kb, w, ok = beside.next()
			}
			if ok && kb == ka {
				return yield(v, w)
			}
			var none B
			return yield(v, none)
		})
	}
}

// Changes visits, in order, the keys whose values are not the same in old and
// now, until yield returns false; range over it. Of what the two versions share
// it sees nothing, so that it costs what has changed.
func Changes[V comparable](old, now Tree[V]) func(yield func(key string) bool) {
	return func(yield func(string) bool) {
		if old.Same(now) {
			return
		}
		a, b := old.walkFrom(""), now.walkFrom("")
		skipShared(a, b)
		ka, v, okA := a.next()
		kb, w, okB := b.next()
		for okA || okB {
			before := okA && (!okB || ka < kb) // it is gone
			after := okB && (!okA || kb < ka)  // it is new
			key := ka
			if after {
				key = kb
			}
			if (before || after || v != w) && !yield(key) {
				return
			}
			if !before && !after {
				skipShared(a, b)
			}
			if !after {
				ka, v, okA = a.next()
			}
			if !before {
				kb, w, okB = b.next()
			}
		}
	}
}
