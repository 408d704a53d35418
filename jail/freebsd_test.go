package jail

import (
	"encoding/binary"
	"errors"
	"fmt"
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

func TestFreeBSDWhatCannotStartIsNamedAndLeavesNothing(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	must(t, os.Symlink("/", filepath.Join(m.spec("web-1").Root, "link")))
	for _, c := range []struct {
		name  string
		spoil func(*Spec)
		want  string
		final bool
	}{
		{"id map", func(s *Spec) { s.IDMap.Size = 1 }, "no id mapping", true},
		{"group", func(s *Spec) { s.User = "0:nobody-here" }, `no group "nobody-here"`, true},
		{"working directory", func(s *Spec) { s.WorkDir = "/none" }, "no working directory /none", true},
		{"name of the network", func(s *Spec) { s.NetNS = "/run/ns" }, "not the name of a jail", false},
		{"mount through a link", func(s *Spec) { s.Mounts = []Mount{{Source: m.dir, Target: "/link/x"}} }, "mount point", false},
		{"processor", func(s *Spec) { s.Limits.CPUSet = "7" }, "cpuset 7", false},
		{"log", func(s *Spec) { s.LogPath = "/no/such/log" }, "no/such", false},
		{"NUL", func(s *Spec) { s.Hostname = "a\x00" }, "NUL", true},
	} {
		s := m.spec("web-1")
		c.spoil(&s)
		_, err := m.d.Start(t.Context(), s)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "start jail web-1") {
			t.Errorf("%s: got %v, want %q in it", c.name, err, c.want)
		}
		if errors.Is(err, ErrFinal) != c.final {
			t.Errorf("%s: final is %v: %v", c.name, !c.final, err)
		}
		if left := m.clean(); left != "" || len(m.leftFiles()) > 0 {
			t.Errorf("%s: left %s %v", c.name, left, m.leftFiles())
		}
	}
}

// kinfo is one entry of the kernel's list.
func kinfo(pid, jid int, start uint64, stat byte) []byte {
	raw := make([]byte, kinfoSize)
	binary.LittleEndian.PutUint32(raw, kinfoSize)
	binary.LittleEndian.PutUint32(raw[kinfoPID:], uint32(pid))
	binary.LittleEndian.PutUint32(raw[kinfoJID:], uint32(jid))
	binary.LittleEndian.PutUint64(raw[kinfoRSS:], 10)
	binary.LittleEndian.PutUint64(raw[kinfoRuntime:], 2000)
	binary.LittleEndian.PutUint64(raw[kinfoStart:], start)
	binary.LittleEndian.PutUint64(raw[kinfoStart+8:], 7)
	raw[kinfoStat] = stat
	return raw
}

func TestKernelsProcessListIsReadOrRefused(t *testing.T) {
	t.Parallel()
	raw := slices.Concat(kinfo(1, 0, 5, 3), kinfo(20, 4, 9, 3), kinfo(21, 4, 9, statZombie))
	got, err := parseKinfo(raw, 4096)
	want := []jailProcess{{pid: 20, jid: 4, started: 9_000_007, rss: 40960, cpu: 2 * time.Millisecond}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	raw[0]++
	for _, bad := range [][]byte{raw, kinfo(1, 1, 1, 1)[:100]} {
		if _, err := parseKinfo(bad, 4096); err == nil {
			t.Error("a list of another layout was read")
		}
	}
}

func runOf(argv ...string) run.Cmd { return run.Cmd{Argv: argv} }

func TestFreeBSDOddCallsAreRefusedInWords(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	s := m.spec("web-1")
	_, err := m.d.Start(t.Context(), s)
	must(t, err)
	for _, c := range []struct {
		x    Exec
		want string
	}{
		{Exec{}, "empty command"},
		{Exec{Argv: []string{"sh\x00"}}, "NUL"},
		{Exec{Argv: []string{"sh"}, User: "nobody-here"}, "no user"},
		{Exec{Argv: []string{"sh"}, WorkDir: "/none"}, "no working directory"},
	} {
		if _, err := m.d.Exec(t.Context(), s.ID, c.x); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v", c.x, err)
		}
	}
	for _, id := range []string{"rex-none", "../x"} {
		if _, err := m.d.Wait(t.Context(), id); !errors.Is(err, ErrNotFound) {
			t.Errorf("wait %s: %v", id, err)
		}
		if st, err := m.d.Stop(t.Context(), id, 0); err != nil || st.Phase != Stopped {
			t.Errorf("stop %s: %+v, %v", id, st, err)
		}
		must(t, m.d.Remove(t.Context(), id))
	}
	if err := m.d.Update(t.Context(), s.ID, Limits{CPU: -1}); err == nil {
		t.Error("a negative limit was taken")
	}
	must(t, os.MkdirAll(filepath.Join(m.dir, "state", "rex-broken"), 0o700))
	must(t, os.WriteFile(filepath.Join(m.dir, "state", "rex-broken", "record.json"), []byte("{"), 0o600))
	must(t, os.MkdirAll(filepath.Join(m.dir, "state", "rex-empty"), 0o700))
	list, err := m.d.List(t.Context())
	if err != nil || len(list) != 3 || list[0].Phase != Created || list[1].Phase != Created || list[2].Phase != Running {
		t.Errorf("got %+v, %v", list, err)
	}
	ended := make(chan error, 1)
	go func() { _, err := m.d.Wait(t.Context(), s.ID); ended <- err }()
	must(t, m.d.Close())
	if err := <-ended; err == nil {
		t.Error("a driver that was closed says that the jail has ended")
	}
	if _, err := NewFreeBSD(FreeBSDConfig{StateDir: "x", ConfDir: "/y"}); err == nil {
		t.Error("a relative directory was taken")
	}
	if got := exitFrom(128 + 31).Signal; got != "signal 31" {
		t.Errorf("got %s", got)
	}
}

func TestFreeBSDCommandsGoInByJexecAsRootAndByThemselvesAsAnybodyElse(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(root, "bin"), 0o755))
	must(t, os.MkdirAll(filepath.Join(root, "srv"), 0o755))
	must(t, os.WriteFile(filepath.Join(root, "bin/run"), nil, 0o755)) //nolint:gosec // a program
	j := &kernelJail{jid: 7, name: "web-1"}
	env := []string{"PATH=/bin"}
	for _, c := range []struct {
		user  account
		dir   string
		feats bsdFeatures
		want  string
	}{
		{account{name: "root", groups: []uint32{5}}, "", bsdFeatures{}, "/usr/sbin/jexec web-1 run it"},
		{account{}, "/srv", bsdFeatures{jexecDir: true}, "/usr/sbin/jexec -d /srv web-1 run it"},
		{account{}, "/srv", bsdFeatures{}, `/usr/sbin/jexec web-1 /bin/sh -c cd "$1" || exit 1; shift; exec "$@" sh /srv run it`},
		{account{uid: 80, gid: 81, groups: []uint32{82}, name: "www"}, "/srv", bsdFeatures{}, "7: 80:81 [82] in /srv: /bin/run it"},
		{account{uid: 1234, gid: 5678}, "", bsdFeatures{jexecDir: true}, "7: 1234:5678 [] in /: /bin/run it"},
		{account{gid: 5, name: "root"}, "", bsdFeatures{}, "7: 0:5 [] in /: /bin/run it"},
	} {
		got, err := command(root, j, c.user, c.dir, []string{"run", "it"}, env, &c.feats)
		must(t, err)
		text := strings.Join(got.Argv, " ")
		if in := got.Inside; in != nil {
			text = fmt.Sprintf("%d: %d:%d %v in %s: %s", in.JID, in.UID, in.GID, in.Groups, got.Dir, text)
		}
		if text != c.want || !got.OnlyEnv || !slices.Equal(got.Env, env) {
			t.Errorf("got %s, want %s", text, c.want)
		}
	}
}

func TestFreeBSDConfKnowsCapabilitiesAndMountsOfFiles(t *testing.T) {
	t.Parallel()
	if s := (Spec{AddCaps: []string{"cap_net_raw"}}); !s.hasCap("NET_RAW") || s.hasCap("NET_ADMIN") {
		t.Error("capabilities are not known by name")
	}
	text, err := confText("rex-1", "web-1", confOf(Spec{Root: "/r", Name: "web-1", AddCaps: []string{"NET_RAW"}, NetNS: "rexn-i-1", Mounts: []Mount{{Source: "/none", Target: "/x y"}}},
		rulesetJail, 0, func(string) bool { return false }))
	if err != nil || !strings.Contains(text, "allow.raw_sockets = '1'") || !strings.Contains(text, `mount = '/none /r/x\\040y nullfs rw,nosuid 0 0'`) || strings.Contains(text, "meta") {
		t.Errorf("got %s, %v", text, err)
	}
}
