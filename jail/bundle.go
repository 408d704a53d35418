package jail

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// defaultCaps is what root in a jail may do: own its files, become other users, bind low ports, chroot (sshd) and write
// login records (PAM refuses a login when it may not). Nothing that reaches the kernel, raw packets or mounts.
var defaultCaps = []string{
	"CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
	"CAP_NET_BIND_SERVICE", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
}

// extraCaps is what AddCaps may ask for. SYS_ADMIN, SYS_MODULE, SYS_PTRACE, BPF and their like are a way out.
var extraCaps = []string{
	"CAP_IPC_LOCK", "CAP_MKNOD", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SYS_NICE", "CAP_NET_BROADCAST",
}

// maskedPaths tell about, or reach, the host. readonlyPaths change it.
var (
	maskedPaths = []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/kmsg", "/proc/latency_stats",
		"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
		"/sys/devices/virtual/powercap", "/sys/firmware", "/sys/fs/bpf", "/sys/kernel/debug", "/sys/kernel/security", "/sys/kernel/tracing",
	}
	readonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

// bundle is what a config.json is made of, beside the Spec.
type bundle struct {
	caps        []string        // see capsOf
	seccomp     json.RawMessage // nil: no filter
	cgroupsPath string          // absolute
	swap        bool            // memory+swap can be limited
	openFiles   uint64          // our hard limit
	oomScore    int             // ours; the jail gets at least 0
	user        account
}

// ociLinux and ociSpec put the pre-encoded seccomp profile in: it is by far the largest part, and always the same.
type ociLinux struct {
	*specs.Linux

	Seccomp json.RawMessage `json:"seccomp,omitempty"`
}

type ociSpec struct {
	specs.Spec

	Linux ociLinux `json:"linux"`
}

// config returns the OCI config.json for s.
func (b bundle) config(s Spec) ([]byte, error) {
	out := ociSpec{Spec: specs.Spec{
		Version:  "1.0.2",
		Root:     &specs.Root{Path: s.Root, Readonly: s.ReadOnlyRoot},
		Hostname: s.hostname(),
		Mounts:   mountsOf(s),
		Process:  b.process(s.Argv, envOf(s.Env, b.user, false), s.WorkDir, s.Limits, false),
	}}
	out.Linux = ociLinux{Linux: b.linux(s), Seccomp: b.seccomp}
	raw, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("encode OCI config: %w", err)
	}
	return raw, nil
}

func (b bundle) process(argv, env []string, dir string, l Limits, tty bool) *specs.Process {
	files := uint64(65536)
	if l.OpenFiles > 0 {
		files = uint64(l.OpenFiles)
	}
	files = min(files, b.openFiles) // raising it needs CAP_SYS_RESOURCE
	if dir == "" {
		dir = "/"
	}
	groups := make([]uint32, 0, len(b.user.groups))
	score := max(b.oomScore, 0) // the daemon may be protected; its jails are not
	p := &specs.Process{
		Terminal:        tty,
		User:            specs.User{UID: b.user.uid, GID: b.user.gid, AdditionalGids: append(groups, b.user.groups...)},
		Args:            argv,
		Env:             env,
		Cwd:             dir,
		Capabilities:    &specs.LinuxCapabilities{Bounding: b.caps, Effective: b.caps, Permitted: b.caps},
		Rlimits:         []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Hard: files, Soft: files}, {Type: "RLIMIT_CORE"}},
		NoNewPrivileges: true,
		OOMScoreAdj:     &score,
	}
	if b.user.uid != 0 { // who is not root in the jail can do nothing special, whatever root there may do
		p.Capabilities.Effective, p.Capabilities.Permitted = nil, nil
	}
	return p
}

func (b bundle) linux(s Spec) *specs.Linux {
	l := &specs.Linux{
		CgroupsPath:       b.cgroupsPath,
		Resources:         resourcesOf(s.Limits, b.swap),
		MaskedPaths:       maskedPaths,
		ReadonlyPaths:     readonlyPaths,
		RootfsPropagation: "private",
		Namespaces: []specs.LinuxNamespace{
			{Type: specs.PIDNamespace}, {Type: specs.MountNamespace}, {Type: specs.UTSNamespace},
			{Type: specs.IPCNamespace}, {Type: specs.CgroupNamespace}, {Type: specs.NetworkNamespace, Path: s.NetNS},
		},
	}
	if s.IDMap.Size > 0 {
		ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: s.IDMap.HostBase, Size: s.IDMap.Size}}
		l.UIDMappings, l.GIDMappings = ids, ids
		l.Namespaces = append(l.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	}
	return l
}

// mountsOf lists the file systems of a jail. sysfs belongs to a network namespace and can only be mounted by that
// namespace's owner, so a jail with a user namespace, in a network namespace made by the host, gets none: an empty,
// read-only /sys tells nothing about the host.
func mountsOf(s Spec) []specs.Mount {
	m := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "noexec", "strictatime", "mode=755", "size=64k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777"}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
	}
	if s.IDMap.Size > 0 {
		m = append(m, specs.Mount{Destination: "/sys", Type: "tmpfs", Source: "none", Options: []string{"ro", "nosuid", "noexec", "nodev", "mode=555", "size=4k"}})
	} else {
		m = append(m, specs.Mount{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"ro", "nosuid", "noexec", "nodev"}})
	}
	for _, v := range s.Mounts {
		opt := []string{"rbind", "rprivate", "nosuid", "nodev", "rw"}
		if v.ReadOnly {
			opt[4] = "ro"
		}
		m = append(m, specs.Mount{Destination: path.Clean(v.Target), Type: "bind", Source: v.Source, Options: opt})
	}
	return m
}

const cpuPeriod = 100_000 // microseconds, the kernel's default

func resourcesOf(l Limits, swap bool) *specs.LinuxResources {
	r := &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}}
	if l.MemoryBytes > 0 {
		r.Memory = &specs.LinuxMemory{Limit: &l.MemoryBytes}
		if swap {
			r.Memory.Swap = &l.MemoryBytes // the sum of both: no swap at all
		}
	}
	if l.CPU > 0 || l.CPUSet != "" {
		r.CPU = &specs.LinuxCPU{Cpus: l.CPUSet}
		if l.CPU > 0 {
			quota, period := cpuQuota(l.CPU), uint64(cpuPeriod)
			r.CPU.Quota, r.CPU.Period = &quota, &period
		}
	}
	if l.Processes > 0 {
		r.Pids = &specs.LinuxPids{Limit: &l.Processes}
	}
	return r
}

// cpuQuota is in microseconds per cpuPeriod; the kernel takes no less than 1 ms.
func cpuQuota(cores float64) int64 { return max(int64(cores*cpuPeriod), 1000) }

// envOf puts defaults in front of env; of one name the last value stays.
func envOf(env []string, a account, tty bool) []string {
	all := []string{"PATH=" + defaultPath, "HOME=" + a.home}
	if a.name != "" {
		all = append(all, "USER="+a.name)
	}
	if tty {
		all = append(all, "TERM=xterm")
	}
	all = append(all, env...)
	seen := map[string]bool{}
	out := make([]string, 0, len(all))
	for _, e := range slices.Backward(all) {
		if name, _, _ := strings.Cut(e, "="); !seen[name] {
			seen[name] = true
			out = append(out, e)
		}
	}
	slices.Reverse(out)
	return out
}

// caps returns the sorted capabilities of a jail, or an error that names the one that no jail gets.
func (s Spec) caps() ([]string, error) {
	caps := []string{}
	if !s.NoCaps {
		caps = slices.Clone(defaultCaps)
	}
	for _, c := range s.AddCaps {
		c = strings.ToUpper(c)
		if !strings.HasPrefix(c, "CAP_") {
			c = "CAP_" + c
		}
		if !slices.Contains(extraCaps, c) && !slices.Contains(defaultCaps, c) {
			return nil, fmt.Errorf("%w: capability %s is not given to jails", ErrFinal, c)
		}
		caps = append(caps, c)
	}
	slices.Sort(caps)
	return slices.Compact(caps), nil
}
