package fsm

// table is a Tree that is being changed: reads see the writes before them,
// and nothing of it is visible in the Tree it began with.
type table[V any] struct {
	root  *node[V]
	n     int      // keys now
	own   *owner   // of the nodes that are made since the last save; nil: none yet
	saved *node[V] // root and n as they were at save
	was   int
}

func tableOf[V any](t Tree[V]) table[V] { return table[V]{root: t.root, n: t.n} }

func (t *table[V]) get(key string) (V, bool) { return t.root.get(key) }

func (t *table[V]) put(key string, v V) {
	t.write()
	if t.root == nil {
		t.root, t.n = &node[V]{own: t.own, keys: []string{key}, vals: []V{v}}, 1
		return
	}
	left, right, had := t.root.insert(t.own, key, v)
	if t.root = left; right != nil {
		t.root = &node[V]{own: t.own, keys: []string{"", right.keys[0]}, kids: []*node[V]{left, right}}
	}
	if !had {
		t.n++
	}
}

func (t *table[V]) del(key string) {
	if _, had := t.get(key); !had {
		return
	}
	t.write()
	t.root = t.root.remove(t.own, key)
	for t.root != nil && len(t.root.kids) == 1 {
		t.root = t.root.kids[0]
	}
	t.n--
}

func (t *table[V]) write() {
	if t.own == nil {
		t.own = new(owner)
	}
}

// each visits the keys that begin with prefix, in order, until f says false.
// f must not write: nodes of a table change in place under it. Collect first,
// then write.
func (t *table[V]) each(prefix string, f func(key string, v V) bool) { t.root.prefix(prefix, f) }

// first is the lowest key that begins with prefix.
func (t *table[V]) first(prefix string) (key string, v V, ok bool) {
	t.each(prefix, func(k string, w V) bool {
		key, v, ok = k, w, true
		return false
	})
	return key, v, ok
}

func (t *table[V]) save() { t.saved, t.was, t.own = t.root, t.n, nil }

func (t *table[V]) restore() { t.root, t.n, t.own, t.saved = t.saved, t.was, nil, nil }

// tree is what the table holds. What is put in later is not in it.
func (t *table[V]) tree() Tree[V] {
	t.own = nil
	return Tree[V]{t.root, t.n}
}
