package spec

import (
	"errors"
	"strings"
	"testing"
)

func TestAPinnedBaseIsPartOfEachKey(t *testing.T) {
	t.Parallel()
	pinned := func(digest string) Wish {
		w := Wish{Name: "w", Images: []Image{{Name: "a", Base: "http://h/a", BaseDigest: digest, Steps: []Step{{Kind: StepRun, Run: "true"}}}}}
		if err := w.Seal(); err != nil {
			t.Fatal(err)
		}
		return w
	}
	free, one, two := pinned(""), pinned("sha256:"+strings.Repeat("1", 64)), pinned("sha256:"+strings.Repeat("2", 64))
	if free.Images[0].Key == one.Images[0].Key || one.Images[0].Key == two.Images[0].Key || one.Images[0].Steps[0].Key == two.Images[0].Steps[0].Key {
		t.Error("images on different content have the same key")
	}
	if free.Images[0].BaseKey() != BaseKey("http://h/a") {
		t.Error("the key of a base without a digest has changed: logs hold it")
	}
	one.Images[0].BaseDigest = two.Images[0].BaseDigest
	if err := one.VerifyKeys(); !errors.Is(err, ErrForgedKey) {
		t.Errorf("another digest under the same key: got %v", err)
	}
}
