package plan_test

import (
	"strings"
	"testing"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/internal/stage"
	"github.com/rexcarcer/rexcarcer/plan"
	"github.com/rexcarcer/rexcarcer/spec"
)

// An apply whose plan is empty is not sent: changed keys have to be a step.
func TestChangedKeysAreAStepOfThePlan(t *testing.T) {
	t.Parallel()
	const ann = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKkqQ8Fe36e46eLpkA6zQE02EMTxZAECz20qqCesMJ24 ann@home"
	st := stage.New()
	w := spec.Wish{Name: "demo"}
	for _, c := range []struct {
		keys []string
		want string
	}{{nil, ""}, {[]string{ann}, "ssh_keys +ssh-ed25519 ...qCesMJ24 ann@home"}, {[]string{ann}, ""}, {nil, "ssh_keys -ssh-ed25519 ...qCesMJ24 ann@home"}} {
		w.SSHKeys = c.keys
		p, err := plan.Make(&w, st.S, nil)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range p.Steps {
			if s.Kind == plan.KindKeys {
				got = append(got, s.Changes...)
			}
		}
		if strings.Join(got, "|") != c.want || p.Empty() != (c.want == "") {
			t.Errorf("keys %q: got %q (empty %v), want %q", c.keys, got, p.Empty(), c.want)
		}
		st.Must(fsm.ApplyWish{Wish: w})
	}
}
