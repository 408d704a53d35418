package dnsd

// names is a persistent hash table: a change copies one page and the list of
// pages, and old versions stay as they are. Buckets are as many as names, so
// that a name is found at the first or second look.
type names struct {
	pages []*page
	mask  uint64 // number of buckets - 1
	count int
}

// pageSize is how many buckets are copied together. 20,000 names have 128
// pages: a change copies 2 KiB of buckets and 1 KiB of pages.
const (
	pageBits = 8
	pageSize = 1 << pageBits
)

type page struct {
	heads [pageSize]*node
	owner *edit
}

// node is a name that exists.
type node struct {
	next  *node // in the same bucket
	name  string
	hash  uint64
	apex  *apex
	sets  []*answer // by type; never changed in place
	below int32     // names that exist and are one label longer
	off   uint8     // where apex begins in name
	owner *edit     // who may still change it
}

// answer is the set of type typ, nil if there is none.
func (n *node) answer(typ uint16) *answer {
	for _, a := range n.sets {
		if a.typ == typ {
			return a
		}
	}
	return nil
}

func makeNames(expect int) names {
	buckets := pageSize
	for buckets < expect {
		buckets *= 2
	}
	return names{pages: make([]*page, buckets/pageSize), mask: uint64(buckets - 1)}
}

// get is the node of name, whose hash it is told; nil if there is none.
func (t *names) get(name []byte, hash uint64) *node {
	i := hash & t.mask
	p := t.pages[i>>pageBits]
	if p == nil {
		return nil
	}
	for n := p.heads[i&(pageSize-1)]; n != nil; n = n.next {
		if n.hash == hash && n.name == string(name) {
			return n
		}
	}
	return nil
}

// all visits every name, in no order.
func (t *names) all(visit func(*node)) {
	for _, p := range t.pages {
		if p == nil {
			continue
		}
		for _, n := range p.heads {
			for ; n != nil; n = n.next {
				visit(n)
			}
		}
	}
}

// bucket is where nodes of hash hang, in a page that e may change.
func (e *edit) bucket(hash uint64) **node {
	t := &e.zone.names
	i := hash & t.mask
	p := t.pages[i>>pageBits]
	if p == nil || p.owner != e {
		own := &page{owner: e}
		if p != nil {
			own.heads = p.heads
		}
		t.pages[i>>pageBits] = own
		p = own
	}
	return &p.heads[i&(pageSize-1)]
}

// own is the node of name in a form that e may change, nil if there is none.
func (e *edit) own(name []byte, hash uint64) *node {
	found := e.zone.names.get(name, hash)
	if found == nil || found.owner == e {
		return found
	}
	at := e.bucket(hash)
	for *at != found {
		*at = e.mine(*at) // the chain up to it changes as well
		at = &(*at).next
	}
	*at = e.mine(found)
	return *at
}

// mine is n, or a copy that e may change.
func (e *edit) mine(n *node) *node {
	if n.owner == e {
		return n
	}
	own := e.newNode()
	*own = *n
	own.owner = e
	return own
}

// add makes a node of name, which has none.
func (e *edit) add(name []byte, hash uint64) *node {
	n := e.newNode()
	*n = node{name: string(name), hash: hash, owner: e}
	at := e.bucket(hash)
	n.next, *at = *at, n
	e.zone.names.count++
	return n
}

// remove takes away n, which e owns.
func (e *edit) remove(n *node) {
	at := e.bucket(n.hash)
	for *at != n {
		*at = e.mine(*at)
		at = &(*at).next
	}
	*at = n.next
	e.zone.names.count--
}

// grow makes room for another name and all above it. Nodes that were at hand
// before are not those of the Zone any more.
func (e *edit) grow() {
	old := e.zone.names
	if old.count+maxName/2 < 2*int(old.mask+1) {
		return
	}
	e.zone.names = makeNames(4 * (int(old.mask) + 1))
	e.zone.names.count = old.count
	old.all(func(n *node) {
		own := e.newNode()
		*own = *n
		own.owner = e
		at := e.bucket(n.hash)
		own.next, *at = *at, own
	})
}
