package stage

import (
	"fmt"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// racks is how many values the label rack has in a Crowd.
const racks = 25

// Crowd is a cluster for benches: hosts of three sizes in 25 racks, all partly
// full, and jails that wait for a place, in groups of so many replicas. The
// attributes are given to every group; see Jails.
func Crowd(hosts, jails, replicas int, attributes string) *Stage {
	st := New()
	for i := range hosts {
		size := 1 + i%3
		st.AddHost(fmt.Sprintf("h%05d", i+1), float64(16*size), int64(64*size)<<30, map[string]string{"rack": fmt.Sprintf("r%d", i%racks+1)})
	}
	st.fill(hosts)
	text := ""
	for g := range jails / replicas {
		text += fmt.Sprintf("g%05d count=%d image=base cpu=0.05 mem=64M %s\n", g+1, replicas, attributes)
	}
	w, err := ParseWish("crowd", text)
	if err != nil {
		panic("stage: " + err.Error())
	}
	st.Must(fsm.ApplyWish{Wish: w})
	st.Build("base")
	return st
}

// fill puts one running jail on each host, of a size that varies.
func (st *Stage) fill(hosts int) {
	text := ""
	for i := range hosts {
		text += fmt.Sprintf("old%05d net=old image=base cpu=%d mem=%dG pin=h%05d\n", i+1, 1+i%7, 1+i%5, i+1)
	}
	w, err := ParseWish("old", text)
	if err != nil {
		panic("stage: " + err.Error())
	}
	w.Images = nil
	w.Networks[0].Subnet = network("", 99).Subnet
	key := Key("base")
	for i := range w.Jails {
		w.Jails[i].ImageKey = key
	}
	st.Must(fsm.ApplyWish{Wish: w})
	for i := range hosts {
		st.Must(fsm.PlaceJail{Jail: fsm.JailName(fmt.Sprintf("old%05d", i+1)), Host: fsm.HostID(fmt.Sprintf("h%05d", i+1)), Seq: 1, Why: "fill"})
	}
	st.Agents()
}
