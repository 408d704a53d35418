package sim

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/stage"
)

// wish has replicas that are spread, one jail alone, and one that may run twice.
const wish = "web count=4 image=base\ndb image=base\nfree image=base nofence"

func apply(w *World, text string) error {
	wish, err := stage.ParseWish("demo", text)
	if err != nil {
		return err
	}
	if err := w.Apply(wish); err != nil {
		return err
	}
	w.Built(stage.Key("base"))
	return nil
}

// moving has jails with volumes, which go from host to host.
const moving = "db count=2 image=base volume=data\nlog image=base volume=data\nweb count=2 image=base"

// story is a minute of trouble and the calm after it.
func story(o Options) (*World, error) {
	w := New(o)
	text := wish
	if o.Moves {
		text = moving
	}
	err := apply(w, text)
	if err == nil {
		err = w.Trouble(time.Minute)
	}
	if err == nil {
		err = w.Calm(2 * time.Minute)
	}
	if err == nil {
		err = w.Replay()
	}
	return w, err
}

func tell(t *testing.T, w *World, o Options, err error) {
	t.Helper()
	t.Errorf("seed %d, %d hosts: %v\n(keep it in testdata/seeds.txt)\n%s", o.Seed, o.Hosts, err, strings.Join(w.Trace(), "\n"))
}

func TestAQuietClusterRunsWhatIsWished(t *testing.T) {
	t.Parallel()
	w := New(Options{Seed: 1})
	if err := apply(w, wish); err != nil {
		t.Fatal(err)
	}
	if err := w.Calm(30 * time.Second); err != nil {
		t.Fatalf("%v\n%s", err, strings.Join(w.Trace(), "\n"))
	}
	if err := w.Replay(); err != nil {
		t.Error(err)
	}
}

// In 2,000 stories no jail ever runs twice that may not, and all end well.
func TestTroubleHarmsNobody(t *testing.T) {
	t.Parallel()
	const groups = 8
	each := 250
	if text := os.Getenv("SIM_SEEDS"); text != "" { // make sim
		n, err := strconv.Atoi(text)
		if err != nil || n < groups {
			t.Fatalf("SIM_SEEDS=%s: want a number from %d on", text, groups)
		}
		each = n / groups
	}
	for g := range groups {
		t.Run(strconv.Itoa(g), func(t *testing.T) {
			t.Parallel()
			for i := range each {
				o := Options{Seed: uint64(g*each + i), Hosts: 3 + g%3}
				if w, err := story(o); err != nil {
					tell(t, w, o, err)
					return
				}
			}
		})
	}
}

// In 400 stories with moves no jail ever starts on an old copy of its volumes,
// and at the end each volume is on one host.
func TestMovesLoseNothing(t *testing.T) {
	t.Parallel()
	const groups = 4
	each := 100
	if text := os.Getenv("SIM_SEEDS"); text != "" { // make sim
		n, err := strconv.Atoi(text)
		if err != nil || n < groups {
			t.Fatalf("SIM_SEEDS=%s: want a number from %d on", text, groups)
		}
		each = n / groups
	}
	for g := range groups {
		t.Run(strconv.Itoa(g), func(t *testing.T) {
			t.Parallel()
			for i := range each {
				o := Options{Seed: uint64(g*each + i), Hosts: 3 + g%3, Moves: true}
				if w, err := story(o); err != nil {
					tell(t, w, o, err)
					return
				}
			}
		})
	}
}

// Seeds that once found something are told again.
func TestSeedsThatFoundSomething(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("testdata/seeds.txt")
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	for line := range strings.Lines(string(raw)) {
		line, _, _ = strings.Cut(line, "#")
		if strings.TrimSpace(line) == "" {
			continue
		}
		var o Options
		if _, err := fmt.Sscan(line, &o.Seed, &o.Hosts); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if w, err := story(o); err != nil {
			tell(t, w, o, err)
		}
		told++
	}
	if told == 0 {
		t.Error("no seed")
	}
}

// The same seed tells the same story, to the last hash.
func TestASeedIsAStory(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		a, _ := story(Options{Seed: seed})
		b, _ := story(Options{Seed: seed})
		if a.State().Chain != b.State().Chain || strings.Join(a.Trace(), "\n") != strings.Join(b.Trace(), "\n") {
			t.Errorf("seed %d told two stories", seed)
		}
	}
}

// A leader that waits for less than a host needs is caught: the laws can be broken.
func TestAHastyLeaderIsCaught(t *testing.T) {
	t.Parallel()
	for seed := range uint64(100) {
		if _, err := story(Options{Seed: seed, Wait: 3 * time.Second}); err != nil && strings.Contains(err.Error(), "at once") {
			return
		}
	}
	t.Error("in 100 stories nobody noticed that jails started elsewhere too early")
}
