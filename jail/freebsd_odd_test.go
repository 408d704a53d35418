package jail

import (
	"context"
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

func TestFreeBSDWhoWasKilledForMemoryIsKnownByNameAndPid(t *testing.T) {
	t.Parallel()
	line := `rctl: rule "jail:rexn-i-1.web:memoryuse:log=67108864" matched by pid 812 (sh), uid 0, jail rexn-i-1.web` + "\n"
	for _, c := range []struct {
		name string
		pid  int
		want bool
	}{{"rexn-i-1.web", 812, true}, {"rexn-i-1.web", 81, false}, {"rexn-i-1.web", 8120, false}, {"web", 812, false}, {"rexn-i-1xweb", 812, false}} {
		if got := hitMemory("Timecounters tick every 1.000 msec\n"+line, c.name, c.pid); got != c.want {
			t.Errorf("%s, %d: got %v", c.name, c.pid, got)
		}
	}
	if hitMemory(strings.Replace(line, "memoryuse", "openfiles", 1), "rexn-i-1.web", 812) {
		t.Error("another rule was taken for that of memory")
	}
}

// A host that was built by hand has its tools where PATH says.
func TestFreeBSDToolsAreFoundByPathWhereTheBaseSystemHasNone(t *testing.T) {
	t.Parallel()
	var asked []string
	missing := run.Func(func(_ context.Context, c run.Cmd) (run.Result, error) {
		asked = append(asked, strings.Join(c.Argv, " "))
		if strings.HasPrefix(c.Argv[0], "/") {
			return run.Result{RC: -1}, &run.Error{Argv: c.Argv, RC: -1, Err: os.ErrNotExist}
		}
		return run.Result{Stdout: []byte("1501000\n")}, nil
	})
	res, err := tools{missing}.Run(t.Context(), runOf("/sbin/sysctl", "-n", "kern.osreldate"))
	if err != nil || string(res.Stdout) != "1501000\n" || !slices.Equal(asked, []string{"/sbin/sysctl -n kern.osreldate", "sysctl -n kern.osreldate"}) {
		t.Errorf("got %q, %v after %q", res.Stdout, err, asked)
	}
	c := runOf("/bin/true")
	c.Inside = &run.Inside{JID: 1}
	if _, err := (tools{missing}).Run(t.Context(), c); !run.NotFound(err) {
		t.Errorf("a program of a jail was looked for on the host: %v", err)
	}
}

// /home and /var are links on many hosts; the kernel lists mounts without them.
func TestFreeBSDMountsBelowARootThatIsReachedThroughALinkAreFound(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	s := m.spec("web-1")
	straight := s.Root
	link := filepath.Join(m.dir, "home")
	must(t, os.Symlink(filepath.Dir(s.Root), link))
	s.Root = filepath.Join(link, "web-1")
	_, err := m.d.Start(t.Context(), s)
	must(t, err)
	_, err = m.Run(t.Context(), runOf("/usr/sbin/jail", "-R", "web-1"))
	must(t, err)
	m.AddMount(freebsdtest.Mount{Special: "/srv/data", Node: filepath.Join(straight, "data"), Type: "nullfs", Opts: "rw"})
	must(t, m.d.Remove(t.Context(), s.ID))
	if left := m.clean(); left != "" {
		t.Errorf("left %s", left)
	}
}
