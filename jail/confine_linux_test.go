package jail

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rexcarcer/rexcarcer/internal/run"
	"github.com/rexcarcer/rexcarcer/internal/testenv"
)

// mapped is a range of ids that tests use for user namespaces.
var mapped = IDMap{HostBase: 1 << 20, Size: 1 << 16}

// escapes are tried as root in a jail; each must fail, and say nothing but that it failed.
var escapes = []struct{ name, line string }{
	{"mount", "mount -t tmpfs none /tmp"},
	{"remount of /proc/sys", "mount -o remount,rw /proc/sys"},
	{"bind mount", "mkdir -p /tmp/b && mount -o bind /proc /tmp/b"},
	{"raw socket", "ping -c 1 -w 1 127.0.0.1 2>&1 | grep -q 'bytes from'"},
	{"kernel log", "head -c 1 /proc/kmsg | grep -q ."},
	{"device of the kernel log", "mknod /tmp/kmsg c 1 11 && head -c 1 /tmp/kmsg"},
	{"device of the memory", "mknod /tmp/mem c 1 1 && head -c 1 /tmp/mem"},
	{"device of a disk", "mknod /tmp/disk b 254 0 && head -c 1 /tmp/disk"},
	{"sysrq", "echo h > /proc/sysrq-trigger"},
	{"core_pattern", "echo '|/tmp/x' > /proc/sys/kernel/core_pattern"},
	{"modprobe path", "echo /tmp/x > /proc/sys/kernel/modprobe"},
	{"hotplug helper", "echo /tmp/x > /sys/kernel/uevent_helper"},
	{"release_agent", "find / -name release_agent 2>/dev/null | grep -q ."},
	{"cgroup mount", "mkdir -p /tmp/c && mount -t cgroup -o memory cgroup /tmp/c"},
	{"user namespace", "unshare -U true"},
	{"user and mount namespace", "unshare -U -m true"},
	{"mount namespace", "unshare -m true"},
	{"network namespace", "unshare -n true"},
	{"host's processes", "ls /proc | grep -vE '^[^0-9]|^1$' | while read p; do cat /proc/$p/comm; done | grep -q kthreadd"},
	{"root of another process namespace", "ls /proc/1/root/proc/sys/kernel/../../1/root/etc/machine-id-of-host"},
	{"kernel memory", "head -c 1 /proc/kcore | grep -q ."},
	{"kernel keys", "grep -q . /proc/keys"},
	{"debugfs", "ls /sys/kernel/debug | grep -q ."},
	{"firmware", "ls /sys/firmware | grep -q ."},
	{"kernel module", "insmod /bin/busybox"},
	{"own limits", "ls /sys/fs/cgroup | grep -q . && echo max > /sys/fs/cgroup/pids/pids.max"},
	{"network change", "ip link add rexesc0 type veth peer name rexesc1"},
	{"oom protection", "echo -1000 > /proc/self/oom_score_adj"},
}

func TestCase50EscapesFail(t *testing.T) {
	t.Parallel()
	for _, ids := range []IDMap{{}, mapped} {
		t.Run(fmt.Sprintf("ids-%d", ids.HostBase), func(t *testing.T) {
			t.Parallel()
			f := newJail(t, ids)
			f.spec.NetNS = newNetNS(t)
			testenv.Require(t, ids.Size == 0 || f.userNS(), "needs an OCI runtime with working user namespaces: crun (run: make deps)")
			f.start()
			for _, e := range escapes {
				if code, out := f.sh(e.line); code == 0 {
					t.Errorf("%s succeeded: %s: %s", e.name, e.line, out)
				}
			}
			_, out := f.sh("grep -E 'NoNewPrivs|Seccomp:|CapEff|CapBnd|CapAmb' /proc/self/status")
			for _, want := range []string{"NoNewPrivs:\t1", "Seccomp:\t2", "CapAmb:\t0000000000000000"} {
				if !strings.Contains(out, want) {
					t.Errorf("got %q, want %q in it", out, want)
				}
			}
			// AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL NET_BIND_SERVICE SETGID SETPCAP SETUID SYS_CHROOT
			if !strings.Contains(out, "CapBnd:\t00000000200405fb") {
				t.Errorf("got capabilities %q", out)
			}
		})
	}
}

func (f *fixture) userNS() bool {
	feat, err := f.Probe(f.ctx())
	must(f.t, err)
	return feat.UserNS
}

// newNetNS makes a network namespace as netd does: owned by the host.
func newNetNS(t *testing.T) string {
	t.Helper()
	unshare := testenv.RequireTool(t, "unshare")
	ns := filepath.Join(t.TempDir(), "ns")
	must(t, os.WriteFile(ns, nil, 0o600))
	_, err := run.Real{}.Run(t.Context(), run.Cmd{Argv: []string{unshare, "--net=" + ns, "ip", "link", "set", "lo", "up"}})
	must(t, err)
	t.Cleanup(func() { _, _ = run.Real{}.Run(context.Background(), run.Cmd{Argv: []string{"umount", ns}}) })
	return ns
}

// TestSystemCallsOfEscapesAreRefused asks for what no busybox applet does, by a static program that is this test itself.
func TestCase50SystemCallsAreRefused(t *testing.T) {
	t.Parallel()
	goTool := testenv.RequireTool(t, "go")
	f := newJail(t, IDMap{})
	src := t.TempDir()
	must(t, os.WriteFile(filepath.Join(src, "main.go"), []byte(syscallProgram), 0o600))
	_, err := run.Real{}.Run(t.Context(), run.Cmd{
		Argv: []string{goTool, "build", "-o", filepath.Join(f.spec.Root, "bin/try"), "main.go"}, Dir: src,
		Env: []string{"CGO_ENABLED=0", "GOFLAGS=-buildvcs=false", "GO111MODULE=off"},
	})
	must(t, err)
	st := f.ended("/bin/try")
	if st.Exit.Code != 0 {
		t.Errorf("exit %+v", st.Exit)
	}
	if out := f.logged(); out != "tried 14\n" {
		t.Errorf("got %q", out)
	}
}

// syscallProgram prints what it could do although it should not.
const syscallProgram = `package main

import (
	"fmt"
	"syscall"
)

func main() {
	n := 0
	try := func(name string, nr, a, b, c, d, e uintptr) {
		n++
		if r, _, errno := syscall.Syscall6(nr, a, b, c, d, e, 0); errno == 0 {
			fmt.Println(name, "succeeded with", r)
		}
	}
	try("raw IP socket", 41, 2, 3, 1, 0, 0)           // socket(AF_INET, SOCK_RAW, ICMP)
	try("packet socket", 41, 17, 3, 0x0300, 0, 0)     // socket(AF_PACKET)
	try("vsock", 41, 40, 1, 0, 0, 0)                  // socket(AF_VSOCK)
	try("keyctl", 250, 0, ^uintptr(2), 0, 0, 0)       // KEYCTL_GET_KEYRING_ID
	try("add_key", 248, 0, 0, 0, 0, 0)
	try("bpf", 321, 0, 0, 0, 0, 0)
	try("perf_event_open", 298, 0, 0, 0, 0, 0)
	try("userfaultfd", 323, 0, 0, 0, 0, 0)
	try("ptrace of the parent", 101, 16, 0, 0, 0, 0)  // PTRACE_ATTACH to pid 0
	try("unshare(CLONE_NEWUSER)", 272, 0x10000000, 0, 0, 0, 0)
	try("init_module", 175, 0, 0, 0, 0, 0)
	try("kexec_load", 246, 0, 0, 0, 0, 0)
	try("open_by_handle_at", 304, 0, 0, 0, 0, 0)
	try("io_uring_setup", 425, 1, 0, 0, 0, 0)
	fmt.Println("tried", n)
}
`

func TestCase52ForkBombHitsThatJailAlone(t *testing.T) {
	t.Parallel()
	f := newJail(t, IDMap{})
	f.spec.Limits.Processes = 20
	f.start("sh", "-c", "(while :; do sleep 1000 & done); exec sleep 1000")
	eventually(t, func() bool {
		s, err := f.Stats(f.ctx(), f.spec.ID)
		must(t, err)
		if s.PIDs > 20 {
			t.Fatalf("%d processes, limit 20", s.PIDs)
		}
		return s.PIDs >= 19
	})
	eventually(t, func() bool { return strings.Contains(f.logged(), "can't fork") })
	_, err := f.Stop(f.ctx(), f.spec.ID, 1)
	must(t, err)
	if p := f.cg.pids(f.spec.ID); len(p) > 0 {
		t.Errorf("processes left: %v", p)
	}
}

func TestCase52MemoryHogIsKilledAndReported(t *testing.T) {
	t.Parallel()
	f := newJail(t, IDMap{})
	f.spec.Limits.MemoryBytes = 16 << 20
	st := f.ended("tail", "/dev/zero") // keeps one endless line
	if !st.Exit.Known || st.Exit.Code != 137 || st.Exit.Signal != "SIGKILL" || !st.Exit.OOM {
		t.Errorf("got %+v, want 137 by OOM", st.Exit)
	}
}

func TestLimitsApplyAndChangeWhileRunning(t *testing.T) {
	t.Parallel()
	f := newJail(t, IDMap{})
	f.spec.Limits = Limits{MemoryBytes: 64 << 20, CPU: 0.5, Processes: 30, OpenFiles: 100, CPUSet: "0"}
	f.start()
	read := func(v1, v2, name1, name2 string) string {
		c, name := v1, name1
		if f.cg.layout == "v2" {
			c, name = v2, name2
		}
		raw, err := os.ReadFile(f.cg.file(c, f.spec.ID, name))
		must(t, err)
		return strings.TrimSpace(string(raw))
	}
	if got := read("memory", "memory", "memory.limit_in_bytes", "memory.max"); got != "67108864" {
		t.Errorf("memory %s", got)
	}
	if code, out := f.sh("ulimit -n"); code != 0 || out != "100\n" {
		t.Errorf("open files %q", out)
	}
	for _, l := range []Limits{{MemoryBytes: 128 << 20, CPU: 1.5, Processes: 40}, {MemoryBytes: 32 << 20, CPU: 0.1, Processes: 5, CPUSet: "0"}, {}} {
		must(t, f.Update(f.ctx(), f.spec.ID, l))
		want := orMax(l.Processes)
		if got := read("pids", "pids", "pids.max", "pids.max"); got != want {
			t.Errorf("processes %s, want %s", got, want)
		}
		if l.MemoryBytes > 0 {
			if got := read("memory", "memory", "memory.limit_in_bytes", "memory.max"); got != orMax(l.MemoryBytes) {
				t.Errorf("memory %s, want %d", got, l.MemoryBytes)
			}
		}
	}
	s, err := f.Stats(f.ctx(), f.spec.ID)
	must(t, err)
	if s.PIDs < 1 || s.MemoryBytes <= 0 || s.CPUTime <= 0 {
		t.Errorf("got %+v", s)
	}
}

func TestUserNamespaceMapsRootToItsRange(t *testing.T) {
	t.Parallel()
	f := newJail(t, mapped)
	testenv.Require(t, f.userNS(), "needs an OCI runtime with working user namespaces: crun (run: make deps)")
	f.spec.NetNS = newNetNS(t)
	f.spec.Mounts = []Mount{{Source: t.TempDir(), Target: "/vol"}}
	must(t, os.Chown(f.spec.Mounts[0].Source, int(mapped.HostBase), int(mapped.HostBase)))
	must(t, os.Chmod(filepath.Dir(f.spec.Mounts[0].Source), 0o755)) //nolint:gosec // the mapped root must get through
	f.start()
	if code, out := f.sh("id -u && touch /new /vol/x && chown web /new && ls -ln /new | grep -c ' 1000 ' && echo x > /dev/null && ls /sys | wc -l"); code != 0 || out != "0\n1\n0\n" {
		t.Errorf("got %d %q", code, out)
	}
	uid, err := os.ReadFile(fmt.Sprintf("/proc/%d/uid_map", f.pid()))
	must(t, err)
	if got := strings.Join(strings.Fields(string(uid)), " "); got != "0 1048576 65536" {
		t.Errorf("uid map %q", got)
	}
}

func (f *fixture) pid() int {
	ls, err := f.List(f.ctx())
	must(f.t, err)
	for _, s := range ls {
		if s.ID == f.spec.ID {
			return s.PID
		}
	}
	return 0
}
