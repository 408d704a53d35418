package fsm

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestBesideIsWhatLookingUpEachKeyGives(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SliceOf(rapid.StringMatching(`[ab]{0,3}`))
		a, b := treeOf(keys.Draw(t, "a")), treeOf(keys.Draw(t, "b"))
		var want, got, values []string
		for key, v := range a.All {
			w, _ := b.Get(key)
			want = append(want, fmt.Sprint(v, w))
			values = append(values, v)
		}
		for v, w := range Beside(a, b) {
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
	var empty Tree[string]
	if len(keys) == 0 {
		return empty
	}
	t := tableOf(empty)
	for _, k := range keys {
		t.put(k, "of "+k)
	}
	return t.tree()
}
