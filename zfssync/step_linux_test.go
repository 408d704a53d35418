package zfssync

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestStepsStackAndAnAbortedOneLeavesNothing(t *testing.T) {
	t.Parallel()
	o := openStore(t)
	parent := baseImage(t, o, 1)
	const steps = 70 // more than a page of paths for mount(2)
	for i := range steps {
		b, err := o.BeginStep(t.Context(), parent, testKey(100+i), IDMap{})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(fmt.Sprintf("%s/step%d", b.Root(), i), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if i == 3 {
			if err := os.Remove(b.Root() + "/step2"); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := b.Abort(); err != nil {
			t.Errorf("abort after commit: %v", err)
		}
		parent = testKey(100 + i)
	}
	b, err := o.BeginStep(t.Context(), parent, testKey(999), IDMap{})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Abort(); err != nil {
		t.Fatal(err)
	}
	if o.HasLayer(testKey(999)) {
		t.Error("aborted layer is there")
	}
	if err := o.PutImage(t.Context(), Image{Key: testKey(2), Top: parent, Env: []string{"A=b"}, Command: []string{"x"}}); err != nil {
		t.Fatal(err)
	}
	img, err := o.Image(testKey(2))
	if err != nil || img.Layers != steps+1 || img.Bytes == 0 || img.Env[0] != "A=b" {
		t.Errorf("image: got %+v, %v", img, err)
	}
	for _, fds := range []bool{true, false} {
		o.feat.LayerFDs = o.feat.LayerFDs && fds
		root, err := o.Clone(t.Context(), testKey(2), testUUID(1), CloneOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if n, _ := filepath.Glob(root + "/step*"); len(n) != steps-1 {
			t.Errorf("files of the steps: got %d, want %d", len(n), steps-1)
		}
		if err := o.Destroy(t.Context(), testUUID(1)); err != nil {
			t.Fatal(err)
		}
	}
	l, err := o.List(t.Context())
	if err != nil || len(l.Leftovers) != 0 {
		t.Errorf("leftovers: %v, %v", l.Leftovers, err)
	}
	noMountsBelow(t, o.dir)
}

func TestTwoMakersOfOneLayerDoNoHarm(t *testing.T) {
	t.Parallel()
	o := openStore(t)
	parent := baseImage(t, o, 1)
	var builds []Build
	for i := range 2 {
		b, err := o.BeginStep(t.Context(), parent, testKey(5), IDMap{})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(b.Root()+"/who", fmt.Append(nil, i), 0o644); err != nil {
			t.Fatal(err)
		}
		builds = append(builds, b)
	}
	for _, b := range builds {
		if err := b.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	wantFile(t, o.layout.layer(strings.TrimPrefix(testKey(5), keyPrefix))+"/fs/who", "0")
}

func TestLayersGoWithTheLastImageThatNeedsThem(t *testing.T) {
	t.Parallel()
	o := openStore(t)
	base := baseImage(t, o, 1)
	for i, key := range []string{testKey(11), testKey(12)} {
		b, err := o.BeginStep(t.Context(), []string{base, testKey(11)}[i], key, IDMap{})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := o.PutImage(t.Context(), Image{Key: testKey(20 + i), Top: key}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := o.Clone(t.Context(), testKey(21), testUUID(1), CloneOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := o.RemoveImage(t.Context(), testKey(21)); !errors.Is(err, ErrInUse) {
		t.Errorf("remove an image with a clone: got %v, want in use", err)
	}
	if err := o.Destroy(t.Context(), testUUID(1)); err != nil {
		t.Fatal(err)
	}
	if err := o.RemoveImage(t.Context(), testKey(21)); err != nil {
		t.Fatal(err)
	}
	if o.HasLayer(testKey(12)) || !o.HasLayer(testKey(11)) {
		t.Error("layer 12 should be gone, layer 11 is of another image")
	}
	release := o.Hold()
	if _, err := o.Sweep(t.Context(), Keep{Images: []string{}, AllJails: true}); err != nil {
		t.Fatal(err)
	}
	if !o.HasLayer(testKey(11)) {
		t.Error("a layer went while a build held")
	}
	release()
	if _, err := o.Sweep(t.Context(), Keep{Images: []string{}, AllJails: true, BaseOfAll: true}); err != nil {
		t.Fatal(err)
	}
	l, err := o.List(t.Context())
	if err != nil || !slices.Equal(l.Layers, []string{base}) || len(l.Images) != 0 {
		t.Errorf("got layers %v, images %v, %v; want the base alone", l.Layers, l.Images, err)
	}
}
