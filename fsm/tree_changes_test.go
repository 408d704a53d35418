package fsm

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestChangesAreTheKeysThatDiffer(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		tree := func(m map[string]int) Tree[int] {
			var table table[int]
			for k, v := range m {
				table.put(k, v)
			}
			return table.tree()
		}
		draw := rapid.MapOf(rapid.StringMatching(`[ab/]{0,4}`), rapid.IntRange(0, 2))
		old, now := draw.Draw(t, "old"), draw.Draw(t, "now")
		var want []string
		for k, v := range old {
			if w, ok := now[k]; !ok || v != w {
				want = append(want, k)
			}
		}
		for k := range now {
			if _, ok := old[k]; !ok {
				want = append(want, k)
			}
		}
		slices.Sort(want)
		if got := slices.Collect(Changes(tree(old), tree(now))); !slices.Equal(got, want) {
			t.Fatalf("changes %q, want %q", strings.Join(got, " "), strings.Join(want, " "))
		}
	})
	for range Changes(Tree[int]{}, Tree[int]{}) {
		t.Error("two empty trees differ")
	}
}
