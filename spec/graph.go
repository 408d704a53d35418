package spec

import "strings"

// findCycle returns a path that ends where it begins, or nil. It does not
// recurse: a chain may be as long as the wish.
func findCycle(names []string, next func(string) []string) []string {
	const (
		open = 1
		done = 2
	)
	state := make(map[string]int, len(names))
	type frame struct {
		name string
		todo []string
	}
	for _, root := range names {
		if state[root] != 0 {
			continue
		}
		state[root] = open
		stack := []frame{{root, next(root)}}
		for len(stack) > 0 {
			top := &stack[len(stack)-1]
			if len(top.todo) == 0 {
				state[top.name] = done
				stack = stack[:len(stack)-1]
				continue
			}
			n := top.todo[0]
			top.todo = top.todo[1:]
			switch state[n] {
			case 0:
				state[n] = open
				stack = append(stack, frame{n, next(n)})
			case open:
				var cycle []string
				for _, f := range stack {
					if f.name == n || len(cycle) > 0 {
						cycle = append(cycle, f.name)
					}
				}
				return append(cycle, n)
			}
		}
	}
	return nil
}

// topological returns names so that each comes after all that it uses. There
// must be no cycle.
func topological(names []string, uses map[string][]string) []string {
	order := make([]string, 0, len(names))
	seen := make(map[string]bool, len(names))
	type frame struct {
		name string
		todo []string
	}
	for _, root := range names {
		if seen[root] {
			continue
		}
		seen[root] = true
		stack := []frame{{root, uses[root]}}
		for len(stack) > 0 {
			top := &stack[len(stack)-1]
			if len(top.todo) == 0 {
				order = append(order, top.name)
				stack = stack[:len(stack)-1]
				continue
			}
			n := top.todo[0]
			top.todo = top.todo[1:]
			if !seen[n] {
				seen[n] = true
				stack = append(stack, frame{n, uses[n]})
			}
		}
	}
	return order
}

func joinArrows(cycle []string) string { return strings.Join(cycle, " -> ") }
