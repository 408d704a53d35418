package jail

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/freebsdtest"
	"github.com/rexcarcer/rexcarcer/internal/run"
)

func TestFreeBSDJailIsAdoptedAndItsEndIsKnown(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	s := m.spec("web-1")
	a, err := m.d.Start(t.Context(), s)
	must(t, err)
	m.boot()
	list, err := m.d.List(t.Context())
	must(t, err)
	if len(list) != 1 || list[0].PID != a.PID || list[0].Phase != Running || list[0].UUID != s.UUID || list[0].Seq != 3 {
		t.Fatalf("adopted %+v, want %+v", list, a)
	}
	m.EndProc(a.PID, 5)
	st, err := m.d.Wait(t.Context(), s.ID)
	if err != nil || st.Exit == nil || !st.Exit.Known || st.Exit.Code != 5 {
		t.Errorf("got %+v %+v, %v", st, st.Exit, err)
	}
}

func TestFreeBSDEndWhileNobodyWatchedIsUnknown(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	s := m.spec("web-1")
	a, err := m.d.Start(t.Context(), s)
	must(t, err)
	must(t, m.d.Close())
	m.EndProc(a.PID, 5)
	m.boot()
	list, err := m.d.List(t.Context())
	must(t, err)
	if len(list) != 1 || list[0].Phase != Stopped || list[0].Exit.Known {
		t.Errorf("got %+v", list)
	}
}

func TestFreeBSDWholeSystemEndsWithItsJail(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	s := m.spec("base", "/bin/sh", "/etc/rc")
	st, err := m.d.Start(t.Context(), s)
	must(t, err)
	if st.Phase != Running || st.PID != 0 {
		t.Errorf("got %+v", st)
	}
	m.boot()
	_, err = m.Run(t.Context(), runOf("/usr/sbin/jail", "-R", "base")) // by hand
	must(t, err)
	if st, err = m.d.Wait(t.Context(), s.ID); err != nil || st.Exit == nil || st.Exit.Known {
		t.Errorf("got %+v, %v", st, err)
	}
	must(t, m.d.Remove(t.Context(), s.ID))
}

func TestFreeBSDForeignJailOfThatNameIsLeftAlone(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	_, err := m.Run(t.Context(), runOf("/usr/sbin/jail", "-c", "name=web-1", "path="+m.dir, "persist"))
	must(t, err)
	before := m.State()
	_, err = m.d.Start(t.Context(), m.spec("web-1"))
	if err == nil || !strings.Contains(err.Error(), "did not make") {
		t.Errorf("got %v", err)
	}
	if m.State() != before {
		t.Errorf("changed: %s", m.State())
	}
}

func TestFreeBSDSecondJailOfANameGetsItsIDAsName(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	a, b := m.spec("build"), m.spec("build")
	a.ID, b.ID = "rex-build-1", "rex-build_2.x"
	for _, s := range []Spec{a, b} {
		_, err := m.d.Start(t.Context(), s)
		must(t, err)
	}
	if m.JailByName("build") == nil || m.JailByName("rex-build-2-x") == nil {
		t.Errorf("got %s", m.State())
	}
}

func TestFreeBSDJailIsAChildOfItsNetwork(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	s := m.spec("web-1")
	s.NetNS = "rexn-i-99aabbcc"
	if _, err := m.d.Start(t.Context(), s); err == nil || !strings.Contains(err.Error(), "no jail rexn-i-99aabbcc") {
		t.Errorf("without the network: %v", err)
	}
	for _, ipc := range []string{"sysvshm=new", "vnet"} { // with shared memory, and then without
		_, err := m.Run(t.Context(), runOf("/usr/sbin/jail", "-c", "name=rexn-i-99aabbcc", "path=/", ipc, "persist", "children.max=64"))
		must(t, err)
		_, err = m.d.Start(t.Context(), s)
		must(t, err)
		j := m.JailByName("rexn-i-99aabbcc.web-1")
		if j == nil || j.Params["ip4"] != "inherit" || j.Params["vnet"] != "" || (j.Params["sysvshm"] == "new") != (ipc != "vnet") || j.Params["sysvsem"] != "" {
			t.Fatalf("got %+v", j)
		}
		if _, err := os.Stat(filepath.Join(m.dir, "conf", "web-1.conf")); err != nil {
			t.Errorf("its file: %v", err)
		}
		must(t, m.d.Remove(t.Context(), s.ID))
		_, err = m.Run(t.Context(), runOf("/usr/sbin/jail", "-R", "rexn-i-99aabbcc"))
		must(t, err)
	}
}

func TestFreeBSDRulesetIsReadBackBeforeEachStart(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	s := m.spec("web-1")
	_, err := m.d.Start(t.Context(), s)
	must(t, err)
	must(t, m.d.Remove(t.Context(), s.ID))
	state := m.State()
	if !strings.Contains(state, "7000: 100 hide\n7000: 200 path null unhide") || strings.Contains(state, "include") || strings.Contains(state, "path mem") {
		t.Errorf("got %s", state)
	}

	m.AddDevfsRule(rulesetJail, 5000, "path mem unhide") // somebody helped
	_, err = m.d.Start(t.Context(), s)
	must(t, err)
	if strings.Contains(m.State(), "path mem") {
		t.Errorf("the foreign rule is still there")
	}
	m.AddDevfsRule(rulesetJail, 5000, "path mem unhide")
	_, err = m.d.Start(t.Context(), m.spec("web-2"))
	if err == nil || !strings.Contains(err.Error(), "jail web-1 uses it") {
		t.Errorf("ruleset in use: %v", err)
	}

	m.Handle("devfs", func(*freebsdtest.Host, run.Cmd, []string) freebsdtest.Reply { return freebsdtest.Reply{} }) // nothing sticks
	if _, err = m.d.Start(t.Context(), m.spec("web-3")); err == nil || !strings.Contains(err.Error(), "no jail is started") {
		t.Errorf("empty ruleset: %v", err)
	}
}

func TestFreeBSDRouterSeesItsDevicesAndNoOther(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	s := m.spec("lan-router")
	s.Devices = []string{"pf", "bpf*"}
	_, err := m.d.Start(t.Context(), s)
	must(t, err)
	if j := m.JailByName("lan-router"); j == nil || j.Params["devfs_ruleset"] != "7001" {
		t.Errorf("got %+v", j)
	}
	s = m.spec("bad")
	s.Devices = []string{"mem"}
	if _, err := m.d.Start(t.Context(), s); !errors.Is(err, ErrFinal) || !strings.Contains(err.Error(), `"mem"`) {
		t.Errorf("got %v", err)
	}
}

func TestFreeBSDLimitsAreDiffedAndRemoved(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	s := m.spec("web-1")
	_, err := m.d.Start(t.Context(), s)
	must(t, err)
	m.ResetCalls()
	must(t, m.d.Update(t.Context(), s.ID, Limits{MemoryBytes: 64 << 20, CPU: 2, OpenFiles: 100}))
	want := []string{
		"rctl jail:web-1", "rctl -r jail:web-1:nthr:deny=30", "rctl -r jail:web-1:maxproc:deny=30", "rctl -r jail:web-1:pcpu:deny=150",
		"rctl -a jail:web-1:pcpu:deny=200", "rctl -a jail:web-1:openfiles:deny=100/process", "cpuset -l all -j web-1",
	}
	if got := m.Calls(); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	st, err := m.d.Stats(t.Context(), s.ID)
	if err != nil || st.PIDs != 1 || st.MemoryBytes != 1<<20 {
		t.Errorf("got %+v, %v", st, err)
	}
	must(t, m.d.Remove(t.Context(), s.ID))
	if strings.Contains(m.State(), "rctl") {
		t.Errorf("left: %s", m.State())
	}
	if _, err := m.d.Stats(t.Context(), s.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("stats of what is gone: %v", err)
	}
	if err := m.d.Update(t.Context(), s.ID, Limits{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("update of what is gone: %v", err)
	}
}

func TestFreeBSDWithoutRacctLimitsAreRefusedOrWarnedAbout(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.Racct = false
	s := m.spec("web-1")
	_, err := m.d.Start(t.Context(), s)
	must(t, err)
	feat, err := m.d.Probe(t.Context())
	must(t, err)
	if !slices.Equal(feat.Limits, []string{"cpuset"}) || !strings.Contains(strings.Join(feat.Notes, " "), "kern.racct.enable=1") {
		t.Errorf("got %+v", feat)
	}
	if st, err := m.d.Stats(t.Context(), s.ID); err != nil || st.PIDs != 1 || st.MemoryBytes != 1<<20 || st.CPUTime != time.Second {
		t.Errorf("counted by hand: %+v, %v", st, err)
	}
	must(t, m.d.Remove(t.Context(), s.ID))
	m.d.cfg.StrictLimits = true
	if _, err = m.d.Start(t.Context(), s); !errors.Is(err, ErrFinal) || !strings.Contains(err.Error(), "kern.racct.enable=1") {
		t.Errorf("strict: %v", err)
	}
	s.Limits = Limits{CPUSet: "1"}
	_, err = m.d.Start(t.Context(), s)
	must(t, err)
}

func TestFreeBSDProbeSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, value, want string }{
		{"kern.features.vimage", "", "GENERIC kernel"},
		{"security.jail.jailed", "1", "this is a jail itself"},
		{"kern.osreldate", "1302001", "too old"},
		{"kern.osreldate", "x", "kern.osreldate is"},
	} {
		m := newMachine(t)
		m.SetSysctl(c.name, c.value)
		if _, err := m.d.Probe(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s=%s: got %v", c.name, c.value, err)
		}
	}
	f, err := newMachine(t).d.Probe(t.Context())
	if err != nil || f.Driver != "jail" || f.Runtime != "jail(8), FreeBSD 15.1-RELEASE-p1" || len(f.Limits) != 4 || f.UserNS {
		t.Errorf("got %+v, %v", f, err)
	}
}

func TestFreeBSDStopThatFailsTakesTheHardWay(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	s := m.spec("base", "/etc/rc")
	_, err := m.d.Start(t.Context(), s)
	must(t, err)
	jailOf := func(h *freebsdtest.Host, c run.Cmd, args []string) freebsdtest.Reply {
		if slices.Contains(args, "-r") {
			return freebsdtest.Fail(1, "jail: base: /bin/sh /etc/rc.shutdown jail: timed out")
		}
		return freebsdtest.JailCommand(h, c, args)
	}
	m.Handle("jail", jailOf)
	st, err := m.d.Stop(t.Context(), s.ID, 0)
	if err != nil || st.Phase != Stopped {
		t.Errorf("got %+v, %v", st, err)
	}
	if left := m.clean(); strings.Contains(left, "base") && !strings.Contains(left, "[rctl]") || strings.Contains(left, "/dev") {
		t.Errorf("left: %s", left)
	}
	calls := strings.Join(m.Calls(), "\n")
	if !strings.Contains(calls, "jail -R base") || !strings.Contains(calls, "umount "+s.Root+"/dev") {
		t.Errorf("calls: %s", calls)
	}
}

func TestFreeBSDMountsOfAStrangerBelowTheRootGoToo(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	s := m.spec("web-1")
	_, err := m.d.Start(t.Context(), s)
	must(t, err)
	m.AddMount(freebsdtest.Mount{Special: "tmpfs", Node: s.Root + "/var/data/a b", Type: "tmpfs", Opts: "rw"})
	m.AddMount(freebsdtest.Mount{Special: "tmpfs", Node: s.Root + "2/x", Type: "tmpfs", Opts: "rw"})
	must(t, m.d.Remove(t.Context(), s.ID))
	if got := m.clean(); got != "[mounts]\ntmpfs on "+s.Root+"2/x (tmpfs, rw)\n" {
		t.Errorf("got %s", got)
	}
}
