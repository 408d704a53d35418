package zfssync

import (
	"bytes"
	"errors"
	"os"
	"testing"
)

// TestOverlayReceiveKilledAtEveryPointFinishesWhenItIsAskedAgain lets the daemon die at each point of taking, receiving,
// using, rolling back and dropping a snapshot of a volume, opens the store again, and asks the same once more.
func TestOverlayReceiveKilledAtEveryPointFinishesWhenItIsAskedAgain(t *testing.T) {
	t.Parallel()
	src := openStore(t)
	v := Object{KindVolume, "v"}
	vol, err := src.Volume(t.Context(), "v", 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(vol+"/x", []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	snap, err := src.TakeSnapshot(t.Context(), v, "one")
	if err != nil {
		t.Fatal(err)
	}
	var stream bytes.Buffer
	if err := src.Send(t.Context(), v, SendOptions{}, &stream); err != nil {
		t.Fatal(err)
	}
	points := 0
	for n := 1; ; n++ {
		o := openStore(t)
		left, died := n, errors.New("the daemon dies here")
		o.fail = func(string) error {
			if left--; left == 0 {
				return died
			}
			return nil
		}
		steps := []func() error{
			func() error {
				return o.Receive(t.Context(), v, ReceiveOptions{Format: FormatTar, Snapshot: "one", GUID: snap.GUID}, bytes.NewReader(stream.Bytes()))
			},
			func() error { _, err := o.Volume(t.Context(), "v", 0); return err },
			func() error { _, err := o.TakeSnapshot(t.Context(), v, "two"); return err },
			func() error { return o.Rollback(t.Context(), v, "one", RollbackOptions{DropLater: true}) },
			func() error { return o.DropSnapshot(t.Context(), v, "one") },
		}
		for i, do := range steps {
			err := do()
			if errors.Is(err, died) {
				points++
				err = do()
			}
			if err != nil {
				t.Fatalf("step %d after point %d: %v", i, n, err)
			}
		}
		vol, err := o.Volume(t.Context(), "v", 0)
		if err != nil {
			t.Fatal(err)
		}
		wantFile(t, vol+"/x", "x")
		if l, err := o.List(t.Context()); err != nil || len(l.Leftovers) != 0 {
			t.Fatalf("after point %d: %+v, %v", n, l, err)
		}
		if left > 0 {
			break
		}
	}
	t.Logf("%d fail points", points)
	if points < 5 {
		t.Errorf("only %d fail points were met", points)
	}
}
