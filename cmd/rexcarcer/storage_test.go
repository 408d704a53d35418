package main

import (
	"strings"
	"testing"
)

func TestStorageIsChosenOnceAndKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, c := range []struct{ asked, got, refusal string }{
		{"zfs:tank/rex", "zfs:tank/rex", ""},
		{"auto", "zfs:tank/rex", ""},
		{"zfs:tank/rex", "zfs:tank/rex", ""},
		{"overlay", "", "was made with storage zfs:tank/rex"},
		{"zfs:tank/other", "", "was made with storage zfs:tank/rex"},
	} {
		got, err := chosenStorage(options{DataDir: dir, Storage: c.asked})
		if got != c.got || (err != nil) != (c.refusal != "") || err != nil && !strings.Contains(err.Error(), c.refusal) {
			t.Errorf("%s: got %q, %v, want %q, %q", c.asked, got, err, c.got, c.refusal)
		}
	}
	if got, err := chosenStorage(options{DataDir: t.TempDir(), Storage: "auto"}); got != "overlay" || err != nil {
		t.Errorf("auto on a fresh directory: %q, %v", got, err)
	}
}

func TestBadStorageIsRefusedAtTheStart(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "btrfs", "zfs:", "zfs:tank", "zfs:tank/../x", "zfs:tank/a@b", "zfs:-o/x", "zfs:tank/a b"} {
		if err := checkStorage(options{Storage: bad}); err == nil {
			t.Errorf("storage %q was taken", bad)
		}
	}
	if err := checkStorage(options{Storage: "zfs:tank/rex", temp: true}); err == nil || !strings.Contains(err.Error(), "-data-dir") {
		t.Errorf("a dataset with a temporary data directory: got %v", err)
	}
}
