package hostagent

import (
	"fmt"
	"testing"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/internal/stage"
)

func TestEachImageIsKeptOnThreeHosts(t *testing.T) {
	t.Parallel()
	st := stage.New()
	for i := range 6 {
		st.AddHost(fmt.Sprintf("h%d", i), 4, 1<<30, nil)
	}
	wish, err := stage.ParseWish("demo", "web image=base\nother image=base")
	if err != nil {
		t.Fatal(err)
	}
	st.Must(fsm.ApplyWish{Wish: wish})
	j, _ := st.S.Jails.Get("web")
	key := j.Spec.ImageKey
	st.Must(fsm.ReportBuild{Key: key, Host: "h3"})
	made := 0
	for round := range 3 { // a second look finds nothing to do
		for i := range 6 {
			h := fsm.HostID(fmt.Sprintf("h%d", i))
			for _, k := range copiesFor(st.S, h) {
				if k != key || h == "h3" {
					t.Errorf("host %s copies %s", h, k)
				}
				st.Must(fsm.ReportBuild{Key: k, Host: h})
				made++
			}
		}
		if b, _ := st.S.Builds.Get(key); len(b.Hosts) != imageCopies {
			t.Errorf("round %d: on %v, want %d hosts", round, b.Hosts, imageCopies)
		}
	}
	if made != imageCopies-1 {
		t.Errorf("%d copies were made, want %d", made, imageCopies-1)
	}
	st.Must(fsm.MarkHost{Host: "h3", State: fsm.HostLost})
	made = 0
	for i := range 6 {
		made += len(copiesFor(st.S, fsm.HostID(fmt.Sprintf("h%d", i))))
	}
	if made != 1 {
		t.Errorf("after a loss %d copies are made, want 1", made)
	}
}
