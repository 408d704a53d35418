package cluster

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"
)

func ids(text string) (out []raft.ServerID) {
	for id := range strings.FieldsSeq(text) {
		out = append(out, raft.ServerID(id))
	}
	return out
}

func TestThreeOrFiveServersVote(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ voters, dead, ready, want string }{
		{"a", "", "", "+[] -[]"},
		{"a", "", "b", "+[] -[]"}, // two voters would be worse than one
		{"a", "", "b c", "+[b c] -[]"},
		{"a b c", "", "d", "+[] -[]"},
		{"a b c", "", "d e", "+[d e] -[]"},
		{"a b c d e", "", "f g", "+[] -[]"},
		{"a b", "c", "", "+[] -[]"}, // it may come back
		{"a b", "c", "d", "+[d] -[c]"},
		{"a b c d", "e", "", "+[] -[e d]"},
		{"a b c d", "e", "f", "+[f] -[e]"},
		{"a b c", "d e", "", "+[] -[d e]"},
		{"a b", "", "", "+[] -[]"},
	} {
		got := choose("a", ids(c.voters), ids(c.dead), ids(c.ready))
		if text := fmt.Sprintf("+%v -%v", got.Promotions, got.Demotions); text != c.want {
			t.Errorf("voters %q, dead %q, ready %q: got %s, want %s", c.voters, c.dead, c.ready, text, c.want)
		}
	}
}

func TestChoosingVotersIsSafeAndComesToRest(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		draw := func(name string, least, most int) (out []raft.ServerID) {
			for i := range rapid.IntRange(least, most).Draw(rt, name) {
				out = append(out, raft.ServerID(fmt.Sprintf("%s%d", name, i)))
			}
			return out
		}
		voters, dead, ready := draw("v", 1, 7), draw("d", 0, 3), draw("r", 0, 7)
		leader := voters[rapid.IntRange(0, len(voters)-1).Draw(rt, "leader")]
		for range 4 {
			c := choose(leader, voters, dead, ready)
			if slices.Contains(c.Demotions, leader) {
				rt.Fatal("the leader lost its vote")
			}
			for _, id := range c.Promotions {
				ready = slices.DeleteFunc(ready, func(r raft.ServerID) bool { return r == id })
				voters = append(voters, id)
			}
			for _, id := range c.Demotions {
				if slices.Contains(voters, id) {
					ready = append(ready, id)
				}
				voters = slices.DeleteFunc(voters, func(r raft.ServerID) bool { return r == id })
				dead = slices.DeleteFunc(dead, func(r raft.ServerID) bool { return r == id })
			}
		}
		if c := choose(leader, voters, dead, ready); len(c.Promotions)+len(c.Demotions) > 0 {
			rt.Fatalf("it does not come to rest: voters %v, dead %v, ready %v: %+v", voters, dead, ready, c)
		}
		if n := len(voters); n != 1 && n != 2 && n != 3 && n != 5 {
			rt.Fatalf("%d voters: %v, dead %v, ready %v", n, voters, dead, ready)
		}
	})
}
