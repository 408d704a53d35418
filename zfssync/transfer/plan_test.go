package transfer

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rexcarcer/rexcarcer/zfssync"
)

// world is an inventory of volumes, layers that stand on each other, and jails above them.
func world(t *rapid.T, format zfssync.Format) Inventory {
	inv := Inventory{}
	below := zfssync.Snapshot{}
	for i := range rapid.IntRange(1, 5).Draw(t, "layers") {
		s := zfssync.Snapshot{Object: layerObject(i), Name: zfssync.LayerSnapshot, GUID: fmt.Sprintf("L%d", i), Origin: below.GUID, Layer: below.Object.Name, Format: format}
		inv[s.Object] = []zfssync.Snapshot{s}
		below = s
	}
	jail := zfssync.Object{Kind: zfssync.KindJail, Name: "j"}
	for i := range rapid.IntRange(1, 4).Draw(t, "jail snapshots") {
		inv[jail] = append(inv[jail], zfssync.Snapshot{Object: jail, Name: fmt.Sprint("s", i), GUID: fmt.Sprintf("J%d", i), Origin: below.GUID, Layer: below.Object.Name, Format: format})
	}
	for i := range rapid.IntRange(1, 6).Draw(t, "volume snapshots") {
		inv[volume] = append(inv[volume], zfssync.Snapshot{Object: volume, Name: fmt.Sprint("s", i), GUID: fmt.Sprintf("V%d", i), Format: format})
	}
	return inv
}

// part is what a host may have of it: what stands on something only with that.
func part(t *rapid.T, all Inventory) Inventory {
	inv := Inventory{}
	layers := rapid.IntRange(0, len(all)-2).Draw(t, "layers here")
	for i := range layers {
		inv[layerObject(i)] = all[layerObject(i)]
	}
	for o, list := range all {
		if o.Kind == zfssync.KindVolume || o.Kind == zfssync.KindJail && layers == len(all)-2 {
			if n := rapid.IntRange(0, len(list)).Draw(t, "here of "+o.Name); n > 0 {
				inv[o] = list[:n]
			}
		}
	}
	return inv
}

// receive plays a step, and fails where a store would.
func receive(t *rapid.T, inv Inventory, s Step) {
	o := s.Snapshot.Object
	list := inv[o]
	if has(list, s.Snapshot.GUID) {
		t.Fatalf("%v is here already", s)
	}
	switch {
	case s.From == "":
		if s.Snapshot.Origin != "" {
			t.Fatalf("%v: a clone travels whole", s)
		}
		if len(list) > 0 && s.Snapshot.Format == zfssync.FormatZFS {
			t.Fatalf("%v over what is here", s)
		}
	case len(list) > 0 && list[len(list)-1].GUID == s.From:
	case s.From == s.Snapshot.Origin && (len(list) == 0 || s.Snapshot.Format == zfssync.FormatTar):
		if !slices.ContainsFunc(slices.Collect(maps.Values(inv)), func(l []zfssync.Snapshot) bool { return has(l, s.From) }) {
			t.Fatalf("%v: its origin is not here", s)
		}
	default:
		t.Fatalf("%v stands on what is not the newest here: %v", s, list)
	}
	inv[o] = append(slices.Clone(list), s.Snapshot)
}

func TestAPlanBringsWhatIsWantedOriginsFirstAndNothingTwice(t *testing.T) {
	t.Parallel()
	for _, format := range []zfssync.Format{zfssync.FormatZFS, zfssync.FormatTar} {
		rapid.Check(t, func(t *rapid.T) {
			remote := world(t, format)
			local := part(t, remote)
			objects := slices.SortedFunc(maps.Keys(remote), func(a, b zfssync.Object) int { return strings.Compare(a.Name, b.Name) })
			o := rapid.SampledFrom(objects).Draw(t, "object")
			want := remote[o][rapid.IntRange(max(0, len(local[o])-1), len(remote[o])-1).Draw(t, "snapshot")]
			before := fmt.Sprint(local, remote)
			steps, err := Diff(local, remote, o, want.GUID)
			if err != nil {
				t.Fatal(err)
			}
			if fmt.Sprint(local, remote) != before {
				t.Fatal("it changed what it was given")
			}
			again, _ := Diff(local, remote, o, want.GUID)
			if !reflect.DeepEqual(again, steps) {
				t.Fatalf("asked twice: %v, then %v", steps, again)
			}
			if has(local[o], want.GUID) != (len(steps) == 0) {
				t.Fatalf("%d steps for what is here: %t", len(steps), has(local[o], want.GUID))
			}
			for _, s := range steps {
				receive(t, local, s)
			}
			if !has(local[o], want.GUID) {
				t.Fatalf("after %v it is not here", steps)
			}
		})
	}
}

func TestWhatWouldLoseSomethingIsAConflictWithBothSidesFacts(t *testing.T) {
	t.Parallel()
	v := func(guids ...string) (list []zfssync.Snapshot) {
		for _, g := range guids {
			list = append(list, zfssync.Snapshot{Object: volume, Name: "s" + g, GUID: g, Format: zfssync.FormatZFS})
		}
		return list
	}
	layer := zfssync.Snapshot{Object: layerObject(2), Name: "layer", GUID: "b", Origin: "a", Layer: key(1), Format: zfssync.FormatZFS}
	ring := zfssync.Snapshot{Object: layerObject(1), Name: "layer", GUID: "a", Origin: "b", Layer: key(2), Format: zfssync.FormatZFS}
	other := layer
	other.GUID = "c"
	for name, c := range map[string]struct {
		local, remote Inventory
		o             zfssync.Object
		guid, want    string
	}{
		"nothing in common":   {Inventory{volume: v("9")}, Inventory{volume: v("1", "2")}, volume, "", "none in common"},
		"newer here":          {Inventory{volume: v("1", "9")}, Inventory{volume: v("1", "2")}, volume, "", "newer snapshots here"},
		"not there":           {Inventory{}, Inventory{volume: v("1")}, volume, "7", "does not have the snapshot"},
		"no such object":      {Inventory{}, Inventory{}, volume, "", "does not have the snapshot"},
		"built on both hosts": {Inventory{layerObject(2): {other}}, Inventory{layerObject(2): {layer}}, layerObject(2), "", "built on both hosts"},
		"origin missing":      {Inventory{}, Inventory{layerObject(2): {layer}}, layerObject(2), "", "is not to be had"},
		"a ring":              {Inventory{}, Inventory{layerObject(2): {layer}, layerObject(1): {ring}}, layerObject(2), "", "is not to be had"},
	} {
		steps, err := Diff(c.local, c.remote, c.o, c.guid)
		if conflict, ok := errors.AsType[*Conflict](err); !ok || !strings.Contains(err.Error(), c.want) || len(steps) > 0 {
			t.Errorf("%s: got %v, %v (%+v), want a conflict: %s", name, steps, err, conflict, c.want)
		}
	}
}
