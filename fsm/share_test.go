package fsm

import (
	"slices"
	"testing"
	"unsafe"

	"github.com/rexcarcer/rexcarcer/spec"
)

func TestJailsReadFromASnapshotShareWhatIsEqual(t *testing.T) {
	t.Parallel()
	jail := func(name string) spec.Jail {
		return spec.Jail{Name: name, Group: string([]byte("web")), Command: append(make([]string, 0, 4), "serve"), Env: []spec.EnvVar{},
			Services: []spec.Service{{Name: "web", Check: &spec.Check{Command: []string{"true"}}}}}
	}
	w := &spec.Wish{Jails: []spec.Jail{jail("web-1"), jail("web-2")}}
	w.Jails[1].Depends = []string{"db"}
	j := &Jail{Spec: jail("web-2")}
	j.Spec.Depends = []string{"cache"}
	sh := newSharing()
	sh.wish(w)
	sh.jail(j)
	a, b := &w.Jails[0], &w.Jails[1]
	if &a.Command[0] != &b.Command[0] || &b.Command[0] != &j.Spec.Command[0] || cap(b.Command) != 1 {
		t.Error("the command is there more than once, or with room behind it")
	}
	if &a.Services[0] != &j.Spec.Services[0] {
		t.Error("the services are there more than once")
	}
	if unsafe.StringData(a.Group) != unsafe.StringData(j.Spec.Group) {
		t.Error("the group is there more than once")
	}
	if !slices.Equal(b.Depends, []string{"db"}) || !slices.Equal(j.Spec.Depends, []string{"cache"}) || a.Depends != nil {
		t.Errorf("depends on %q, %q and %q", a.Depends, b.Depends, j.Spec.Depends)
	}
	if b.Env == nil || j.Spec.NICs != nil {
		t.Error("none and an empty list are no longer told apart")
	}
}
