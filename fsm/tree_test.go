package fsm

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestBesideIsWhatLookingUpEachKeyGives(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SliceOf(rapid.StringMatching(`[ab]{0,3}`))
		a, b := treeOf(keys.Draw(t, "a")), treeOf(keys.Draw(t, "b"))
		from := rapid.StringMatching(`[ab]{0,3}`).Draw(t, "from")
		var want, got, values []string
		for key, v := range a.All {
			values = append(values, v)
			if key >= from {
				w, _ := b.Get(key)
				want = append(want, fmt.Sprint(v, w))
			}
		}
		for v, w := range BesideFrom(a, b, from) {
			got = append(got, fmt.Sprint(v, w))
		}
		if !slices.Equal(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
		if all := slices.Collect(a.Values); !slices.Equal(all, values) {
			t.Fatalf("values are %q, want %q", all, values)
		}
	})
}

func treeOf(keys []string) Tree[string] {
	var t table[string]
	for _, k := range keys {
		t.put(k, "of "+k)
	}
	return t.tree()
}

// kept is a version of a Tree with what it must hold for ever.
type kept struct {
	tree Tree[int]
	want map[string]int
}

// grown is a table that has lived for a while, beside a plain map.
type grown struct {
	table[int]
	rng          *rand.Rand
	want, before map[string]int
}

func (g *grown) key(space int) string {
	i := g.rng.IntN(space)
	return fmt.Sprintf("%s/%04d", strings.Repeat("k", i%3), i)
}

// live does so many random things; little by little it gets larger, then
// smaller again, and it may go back to where it was.
func (g *grown) live(steps, space int) {
	for i := range steps {
		key := g.key(space)
		switch n := g.rng.IntN(100); {
		case n < 2:
			g.save()
			g.before = maps.Clone(g.want)
		case n < 4 && g.before != nil:
			g.restore()
			g.want, g.before = g.before, nil
		case n < 30+40*min(1, i*2/steps):
			g.del(key)
			delete(g.want, key)
		default:
			g.put(key, i)
			g.want[key] = i
		}
	}
}

// TestATreeIsAMap lets tables live and holds them to a map; whatever happens,
// the versions that were taken of them stay as they were.
func TestATreeIsAMap(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		g := &grown{rng: rand.New(rand.NewPCG(seed, 1)), want: map[string]int{}}
		space := []int{5, 60, 900, 4000}[seed%4]
		var versions []kept
		for range 25 {
			versions = append(versions, kept{g.tree(), maps.Clone(g.want)})
			g.before = nil // what was saved is of the version before
			g.live(space, space)
		}
		versions = append(versions, kept{g.tree(), g.want})
		for i, v := range versions {
			if err := v.check(g, space); err != nil {
				t.Fatalf("seed %d, version %d of %d keys: %v", seed, i, len(v.want), err)
			}
			if i > 0 {
				if err := v.changed(versions[i-1]); err != nil {
					t.Fatalf("seed %d, version %d: %v", seed, i, err)
				}
			}
		}
	}
}

func (v kept) check(g *grown, space int) error {
	if v.tree.Len() != len(v.want) {
		return fmt.Errorf("it says that it has %d keys", v.tree.Len())
	}
	if _, err := v.tree.root.sound(true); err != nil {
		return err
	}
	keys := slices.Sorted(maps.Keys(v.want))
	var all []string
	for key, got := range v.tree.All {
		if all = append(all, key); got != v.want[key] {
			return fmt.Errorf("%s has %d, want %d", key, got, v.want[key])
		}
	}
	if !slices.Equal(all, keys) {
		return fmt.Errorf("keys are %q", all)
	}
	for range 20 {
		key := g.key(space)
		got, ok := v.tree.Get(key)
		if want, has := v.want[key]; ok != has || got != want {
			return fmt.Errorf("get %s: %d, %v", key, got, ok)
		}
		at, _ := slices.BinarySearch(keys, key)
		if from := keysOf(v.tree.From(key)); !slices.Equal(from, keys[at:]) {
			return fmt.Errorf("from %s there are %d keys, want %d", key, len(from), len(keys)-at)
		}
		prefix := key[:len(key)-2]
		want := slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return !strings.HasPrefix(k, prefix) })
		if got := keysOf(v.tree.Prefix(prefix)); !slices.Equal(got, want) {
			return fmt.Errorf("with %s begin %q, want %q", prefix, got, want)
		}
	}
	return nil
}

func keysOf[V any](seq func(func(string, V) bool)) (keys []string) {
	for key := range seq {
		keys = append(keys, key)
	}
	return keys
}

// changed holds Changes to a comparison of all keys.
func (v kept) changed(old kept) error {
	var want []string
	for key, n := range v.want {
		if was, had := old.want[key]; !had || was != n {
			want = append(want, key)
		}
	}
	for key := range old.want {
		if _, has := v.want[key]; !has {
			want = append(want, key)
		}
	}
	slices.Sort(want)
	if got := slices.Collect(Changes(old.tree, v.tree)); !slices.Equal(got, want) {
		return fmt.Errorf("changes are %d, want %d: %q, want %q", len(got), len(want), got, want)
	}
	return nil
}

// sound checks what node promises, and returns how deep n is.
func (n *node[V]) sound(root bool) (depth int, err error) {
	switch {
	case n == nil && root:
		return 0, nil
	case n == nil || len(n.keys) == 0 || len(n.keys) > wide:
		return 0, fmt.Errorf("a node is nil, empty or too wide: %+v", n)
	case n.kids == nil && len(n.vals) != len(n.keys), n.kids != nil && (len(n.vals) > 0 || len(n.kids) != len(n.keys)), root && len(n.kids) == 1:
		return 0, fmt.Errorf("a node is crooked: %+v", n)
	}
	for i, kid := range n.kids {
		d, err := kid.sound(false)
		if err != nil || i > 0 && d != depth {
			return 0, fmt.Errorf("leaves at %d and %d: %w", d, depth, err)
		}
		depth = d
		var first, last string
		kid.each("", func(key string, _ V) bool {
			if first == "" {
				first = key
			}
			last = key
			return true
		})
		if i > 0 && first < n.keys[i] || i+1 < len(n.kids) && last >= n.keys[i+1] {
			return 0, fmt.Errorf("kid %d has %s to %s beside %q", i, first, last, n.keys)
		}
	}
	return depth + 1, nil
}

// TestSharedNodesAreSkipped: of 50,000 keys those are looked at that are in a
// leaf with one that changed, and no others.
func TestSharedNodesAreSkipped(t *testing.T) {
	t.Parallel()
	var table table[*int]
	for i := range 50_000 {
		table.put(fmt.Sprintf("%06d", i*7919%1_000_000), new(int))
	}
	old := table.tree()
	for _, key := range []string{"000000", "007919", "499917"} {
		table.put(key, new(int))
	}
	now := table.tree()
	if now.Len() != old.Len() {
		t.Fatal("a key was new")
	}
	a, b, looked, differ := old.walkFrom(""), now.walkFrom(""), 0, 0
	for {
		skipShared(a, b)
		_, v, _ := a.next()
		_, w, ok := b.next()
		if !ok {
			break
		}
		if looked++; v != w {
			differ++
		}
	}
	if differ != 3 || looked > 3*wide {
		t.Errorf("%d keys were looked at, %d differ", looked, differ)
	}
}
