package spec

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
)

// handMade is the smallest Wish with one of everything that a driver reads.
func handMade() *Wish {
	w := &Wish{
		Name:     "demo",
		Networks: []Network{{Name: "lan", Subnet: mustPrefix("10.0.0.0/24"), Publish: []Publish{{Name: "p", Port: 80, Service: "s"}}}},
		Images:   []Image{{Name: "i", Base: "debian:bookworm", Steps: []Step{{Kind: StepRun, Run: "true"}, {Kind: StepCopy, Src: []string{"a"}, Dst: "/a", Digest: digestOf("a")}}}},
		Jails: []Jail{{
			Name: "web", Image: "i", NICs: []NIC{{Network: "lan"}}, Command: []string{"x"}, Env: []EnvVar{{"A", "b"}},
			Services: []Service{{Name: "s", Port: 80, Check: &Check{}}}, Volumes: []Volume{{Name: "v", Path: "/v"}},
		}},
	}
	w.Normalize()
	if err := w.Seal(); err != nil {
		panic(err)
	}
	return w
}

func TestNormalizedWishIsValid(t *testing.T) {
	t.Parallel()
	w := handMade()
	if err := w.Validate(); err != nil {
		t.Fatal(err)
	}
	if err := w.VerifyKeys(); err != nil {
		t.Fatal(err)
	}
	if j := w.Jails[0]; j.Restart.Policy != "always" || j.Update.MaxParallel != 1 || j.Services[0].Check.Interval != DefaultCheckInterval || j.Replicas != 1 {
		t.Errorf("defaults are missing: %+v", j)
	}
}

// TestCase35NamesOfAForgedWishAreRefused sends what no file could: JSON.
func TestCase35NamesOfAForgedWishAreRefused(t *testing.T) {
	t.Parallel()
	bad := []string{"$(reboot)", "`x`", "a;b", "a|b", "a b", "a\"b", "a'b", "a\nb", "a\x00b", "..", "../x", "-flag", "a@b", "a%b", "ünï", "A", "a/b", "", "a\\b", strings.Repeat("a", 254)}
	for field, set := range map[string]func(w *Wish, s string){
		"wish":           func(w *Wish, s string) { w.Name = s },
		"network":        func(w *Wish, s string) { w.Networks[0].Name = s },
		"publish":        func(w *Wish, s string) { w.Networks[0].Publish[0].Name = s },
		"published":      func(w *Wish, s string) { w.Networks[0].Publish[0].Service = s },
		"allow":          func(w *Wish, s string) { w.Networks[0].Allow = []string{s} },
		"image":          func(w *Wish, s string) { w.Images[0].Name = s },
		"group":          func(w *Wish, s string) { w.Jails[0].Group, w.Jails[0].Name = s, s },
		"jail":           func(w *Wish, s string) { w.Jails[0].Name = s },
		"jail's network": func(w *Wish, s string) { w.Jails[0].NICs[0].Network = s },
		"jail's image":   func(w *Wish, s string) { w.Jails[0].Image = s },
		"depends":        func(w *Wish, s string) { w.Jails[0].Depends = []string{s} },
		"service":        func(w *Wish, s string) { w.Jails[0].Services[0].Name = s },
		"volume":         func(w *Wish, s string) { w.Jails[0].Volumes[0].Name = s },
		"volume's path":  func(w *Wish, s string) { w.Jails[0].Volumes[0].Path = s },
		"env":            func(w *Wish, s string) { w.Jails[0].Env[0].Name = strings.TrimPrefix(s, "A") },
		"step's key":     func(w *Wish, s string) { w.Images[0].Steps[0].Key = s },
		"image's key":    func(w *Wish, s string) { w.Images[0].Key = s },
		"policy":         func(w *Wish, s string) { w.Jails[0].Restart.Policy = s },
		"copy to":        func(w *Wish, s string) { w.Images[0].Steps[1].Dst = s },
	} {
		t.Run(field, func(t *testing.T) {
			t.Parallel()
			for _, s := range bad {
				w := handMade()
				set(w, s)
				err := w.Validate()
				if err == nil {
					t.Errorf("%q passes", s)
					continue
				}
				if strings.ContainsAny(err.Error(), "\x00\x1b") {
					t.Errorf("the message repeats control characters: %q", err)
				}
			}
		})
	}
}

func TestForgedNumbersAreRefused(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(w *Wish){
		"cpu NaN":            func(w *Wish) { w.Jails[0].Limits.CPU = math.NaN() },
		"cpu negative":       func(w *Wish) { w.Jails[0].Limits.CPU = -1 },
		"memory negative":    func(w *Wish) { w.Jails[0].Limits.MemoryBytes = -1 },
		"processes":          func(w *Wish) { w.Jails[0].Limits.Processes = math.MinInt64 },
		"check interval 0":   func(w *Wish) { w.Jails[0].Services[0].Check.Interval = 0 },
		"check failures 0":   func(w *Wish) { w.Jails[0].Services[0].Check.Failures = 0 },
		"backoff 0":          func(w *Wish) { w.Jails[0].Restart.Backoff = 0 },
		"max parallel 0":     func(w *Wish) { w.Jails[0].Update.MaxParallel = 0 },
		"replicas 0":         func(w *Wish) { w.Jails[0].Replicas = 0 },
		"index negative":     func(w *Wish) { w.Jails[0].Index = -1 },
		"index of 1":         func(w *Wish) { w.Jails[0].Index = 2 },
		"quota negative":     func(w *Wish) { w.Jails[0].Volumes[0].QuotaBytes = -5 },
		"port 0":             func(w *Wish) { w.Jails[0].Services[0].Port = 0 },
		"stop negative":      func(w *Wish) { w.Jails[0].Stop = -1 },
		"NUL in an argument": func(w *Wish) { w.Jails[0].Command = []string{"a\x00b"} },
		"NUL in a variable":  func(w *Wish) { w.Jails[0].Env[0].Value = "a\x00b" },
		"empty program":      func(w *Wish) { w.Jails[0].Command = []string{""} },
		"step of no kind":    func(w *Wish) { w.Images[0].Steps[0].Kind = "exec" },
		"copy climbs":        func(w *Wish) { w.Images[0].Steps[1].Src = []string{"a/../../b"} },
		"no subnet":          func(w *Wish) { w.Networks[0].Subnet = mustPrefix("0.0.0.0/0") },
		"many arguments":     func(w *Wish) { w.Jails[0].Command = make([]string, MaxArgs+1) },
		"long argument":      func(w *Wish) { w.Jails[0].Command = []string{strings.Repeat("a", MaxArgBytes+1)} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := handMade()
			set(w)
			if err := w.Validate(); err == nil {
				t.Error("passes")
			}
		})
	}
}

func TestReplicasAreJudgedEachForItself(t *testing.T) {
	t.Parallel()
	w := handMade()
	a := w.Jails[0]
	a.Name, a.Index, a.Replicas = "web-1", 1, 2
	b := a
	b.Name, b.Index = "web-2", 2
	b.Volumes = []Volume{{Name: "v", Path: "relative"}}
	w.Jails = []Jail{a, b}
	if err := w.Validate(); err == nil || !strings.Contains(err.Error(), `jail "web-2"`) {
		t.Errorf("got %v, want the second replica's volume to be refused", err)
	}
}

func TestUnresolvedNamesAreForTheCluster(t *testing.T) {
	t.Parallel()
	w := handMade()
	w.Jails[0].Image = "nginx:1.2"
	w.Jails[0].ImageKey = ""
	w.Jails[0].NICs = append(w.Jails[0].NICs, NIC{Network: "other"})
	if err := w.Validate(); err != nil {
		t.Fatal(err)
	}
	images, networks := w.Unresolved()
	if strings.Join(images, " ") != "nginx:1.2" || strings.Join(networks, " ") != "other" {
		t.Errorf("got %v and %v", images, networks)
	}
}

func TestForgedKeysAreSeen(t *testing.T) {
	t.Parallel()
	for name, forge := range map[string]func(w *Wish){
		"run":    func(w *Wish) { w.Images[0].Steps[0].Run = "curl evil | sh" },
		"digest": func(w *Wish) { w.Images[0].Steps[1].Digest = digestOf("evil") },
		"base":   func(w *Wish) { w.Images[0].Base = "evil:1" },
		"jail":   func(w *Wish) { w.Jails[0].ImageKey = digestOf("other") },
		"key":    func(w *Wish) { w.Images[0].Steps[0].Key = digestOf("other") },
	} {
		w := handMade()
		forge(w)
		if err := w.Validate(); err != nil {
			t.Errorf("%s: Validate sees it already: %v", name, err)
		}
		if err := w.VerifyKeys(); !errors.Is(err, ErrForgedKey) {
			t.Errorf("%s: got %v, want ErrForgedKey", name, err)
		}
	}
}

func TestStepKeyIsThatOfAllBeforeIt(t *testing.T) {
	t.Parallel()
	key := func(rex string) []string {
		m, diags := ParseRex("a.rex", []byte(rex), testInputs(nil))
		if m == nil {
			t.Fatal(diags)
		}
		keys := []string{}
		for _, s := range m.Steps {
			keys = append(keys, s.Key)
		}
		return append(keys, m.Key)
	}
	one := key("BASE a\nRUN x\nRUN y\nRUN z\n")
	same := key("# c\nfrom a\n\nprovision run x\nRUN \\\n y\nRUN z\n")
	changed := key("BASE a\nRUN x\nRUN Y\nRUN z\n")
	if strings.Join(one, " ") != strings.Join(same, " ") {
		t.Error("the way of writing counts")
	}
	for i := range one {
		if (one[i] == changed[i]) != (i == 0) {
			t.Errorf("key %d: same %v", i, one[i] == changed[i])
		}
	}
	if cmd := key("BASE a\nRUN x\nRUN y\nRUN z\nCMD q\n"); cmd[2] != one[2] || cmd[3] == one[3] {
		t.Error("CMD must change the image and no layer")
	}
}

func TestOverlaps(t *testing.T) {
	t.Parallel()
	net := func(subnet, subnet6 string) Network {
		n := Network{Subnet: mustPrefix(subnet)}
		if subnet6 != "" {
			n.Subnet6 = mustPrefix(subnet6)
		}
		return n
	}
	for _, c := range []struct {
		a, b Network
		want bool
	}{
		{net("10.0.0.0/24", ""), net("10.0.1.0/24", ""), false},
		{net("10.0.0.0/16", ""), net("10.0.1.0/24", ""), true},
		{net("10.0.0.0/24", "fd00::/64"), net("10.0.1.0/24", "fd00::/48"), true},
		{net("10.0.0.0/24", "fd00::/64"), net("10.0.1.0/24", ""), false},
		{Network{}, net("10.0.1.0/24", ""), false},
	} {
		if got := Overlaps(c.a, c.b); got != c.want || Overlaps(c.b, c.a) != c.want {
			t.Errorf("%v %v: got %v, want %v", c.a, c.b, got, c.want)
		}
	}
}

func TestReservedAddressesOfANetwork(t *testing.T) {
	t.Parallel()
	n := Network{Name: "n", Subnet: mustPrefix("10.0.0.0/29"), Subnet6: mustPrefix("fd00::/64")}
	got := []string{n.Gateway().String(), n.HostAddr().String(), n.Gateway6().String(), n.HostAddr6().String()}
	if want := "10.0.0.1 10.0.0.2 fd00::1 fd00::2"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	free := int64(0)
	for a := n.Subnet.Addr(); n.Subnet.Contains(a); a = a.Next() {
		if n.Assignable(a) == nil {
			free++
		}
	}
	if free != n.PoolSize() {
		t.Errorf("%d addresses are assignable, PoolSize is %d", free, n.PoolSize())
	}
}

func TestZeroWishAndNilPartsDoNotPanic(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`{}`, `{"jails":[{}]}`, `{"jails":[{"nics":[{}],"services":[{"check":{}}],"volumes":[{}],"env":[{}]}],"networks":[{}],"images":[{"steps":[{}]}]}`} {
		var w Wish
		if err := json.Unmarshal([]byte(text), &w); err != nil {
			t.Fatal(err)
		}
		if err := w.Validate(); err == nil {
			t.Errorf("%s is valid", text)
		}
		w.Normalize()
		_ = w.VerifyKeys()
		if !(Constraint{}).Eval(nil) {
			t.Error("the zero Constraint must hold")
		}
	}
}
