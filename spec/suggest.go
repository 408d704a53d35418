package spec

import (
	"sort"
	"strings"
)

// suggest returns `did you mean "x"?` for the nearest of names, or a list of
// what there is when nothing is near and the list is short, or "".
func suggest(got string, names []string) string {
	best, distance := "", max(1, len(got)/3)+1
	sorted := append([]string(nil), names...)
	sort.Strings(sorted)
	for _, n := range sorted {
		d := editDistance(strings.ToLower(got), strings.ToLower(n), distance)
		if d < distance && d < max(len(got), len(n)) { // else nothing is left of it
			best, distance = n, d
		}
	}
	switch {
	case best != "":
		return `did you mean "` + best + `"?`
	case len(sorted) > 0 && len(sorted) <= 20:
		return "there is: " + strings.Join(sorted, ", ")
	}
	return ""
}

// editDistance counts insertions, deletions, substitutions and swaps of
// neighbours between a and b; it gives up at limit.
func editDistance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit || len(a) > 64 || len(b) > 64 {
		return limit
	}
	var older []int
	old := make([]int, len(b)+1)
	for j := range old {
		old[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(old[j]+1, row[j-1]+1, old[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], older[j-2]+1)
			}
		}
		older, old = old, row
	}
	return old[len(b)]
}
