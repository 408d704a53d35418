package freebsdtest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// Mount is one mounted file system.
type Mount struct{ Special, Node, Type, Opts string }

func (h *Host) showMounts() string {
	var b strings.Builder
	for _, m := range h.mounts {
		fmt.Fprintf(&b, "%s on %s (%s, %s)\n", m.Special, m.Node, m.Type, m.Opts)
	}
	return b.String()
}

func (h *Host) unmountBelow(path string) {
	h.mounts = slices.DeleteFunc(h.mounts, func(m Mount) bool { return strings.HasPrefix(m.Node, path+"/") })
}

// mountCommand is mount --libxo json and mount -t TYPE -o OPTS SPECIAL NODE.
func mountCommand(h *Host, _ run.Cmd, args []string) Reply {
	if slices.Equal(args, []string{"--libxo", "json"}) {
		type entry struct {
			Special string `json:"special"`
			Node    string `json:"node"`
			FSType  string `json:"fstype"`
		}
		list := []entry{{"/dev/vtbd0", "/", "ufs"}}
		for _, m := range h.mounts {
			list = append(list, entry{m.Special, m.Node, m.Type})
		}
		raw, err := json.Marshal(map[string]any{"mount": map[string]any{"mounted": list}})
		if err != nil {
			return Fail(1, "mount: %v", err)
		}
		return Reply{Out: string(raw) + "\n"}
	}
	if len(args) == 6 && args[0] == "-t" && args[2] == "-o" {
		h.mounts = append(h.mounts, Mount{Special: args[4], Node: args[5], Type: args[1], Opts: args[3]})
		return Reply{}
	}
	return Fail(1, "freebsdtest: mount %s: not modelled", strings.Join(args, " "))
}

// umountCommand is umount [-f] NODE: the topmost mount there goes.
func umountCommand(h *Host, _ run.Cmd, args []string) Reply {
	node := args[len(args)-1]
	for i, m := range slices.Backward(h.mounts) {
		if m.Node != node {
			continue
		}
		if slices.ContainsFunc(h.mounts, func(o Mount) bool { return strings.HasPrefix(o.Node, node+"/") }) {
			return Fail(1, "umount: unmount of %s failed: Device busy", node)
		}
		h.mounts = slices.Delete(h.mounts, i, i+1)
		return Reply{}
	}
	return Fail(1, "umount: %s: not a file system root directory", node)
}

// AddMount adds one, as if by hand.
func (h *Host) AddMount(m Mount) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mounts = append(h.mounts, m)
}

// DevfsRule is one rule of a ruleset.
type DevfsRule struct {
	Num  int
	Text string
}

func (h *Host) showRules() string {
	var b strings.Builder
	for _, set := range slices.Sorted(maps.Keys(h.rules)) {
		for _, r := range h.rules[set] {
			fmt.Fprintf(&b, "%d: %d %s\n", set, r.Num, r.Text)
		}
	}
	return b.String()
}

// devfsCommand is devfs rule -s N add NUM SPEC, show, and devfs rule showsets, -s N delset.
func devfsCommand(h *Host, _ run.Cmd, args []string) Reply {
	if slices.Equal(args, []string{"rule", "showsets"}) {
		var b strings.Builder
		for _, n := range slices.Sorted(maps.Keys(h.rules)) {
			fmt.Fprintln(&b, n)
		}
		return Reply{Out: b.String()}
	}
	if len(args) < 4 || args[0] != "rule" || args[1] != "-s" {
		return Fail(1, "devfs rule: unknown argument: %s", strings.Join(args, " "))
	}
	set, err := strconv.Atoi(args[2])
	if err != nil || set < 1 || set > 65535 {
		return Fail(1, "devfs rule: error converting to number: %s", args[2])
	}
	switch args[3] {
	case "show":
		var b strings.Builder
		for _, r := range h.rules[set] {
			fmt.Fprintf(&b, "%d %s\n", r.Num, r.Text)
		}
		return Reply{Out: b.String()}
	case "delset":
		delete(h.rules, set)
		return Reply{}
	case "add":
		num, err := strconv.Atoi(args[4])
		if err != nil {
			return Fail(1, "freebsdtest: devfs rule add without a number: not modelled")
		}
		if slices.ContainsFunc(h.rules[set], func(r DevfsRule) bool { return r.Num == num }) {
			return Fail(1, "devfs rule: ioctl DEVFSIO_RADD: File exists")
		}
		h.rules[set] = append(h.rules[set], DevfsRule{num, strings.Join(args[5:], " ")})
		slices.SortFunc(h.rules[set], func(a, b DevfsRule) int { return a.Num - b.Num })
		return Reply{}
	}
	return Fail(1, "devfs rule: unknown argument: %s", args[3])
}

// AddDevfsRule puts a rule into a set, as if by hand.
func (h *Host) AddDevfsRule(set, num int, text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rules[set] = append(h.rules[set], DevfsRule{num, text})
}

const raccOff = "rctl: RACCT/RCTL present, but disabled; enable using kern.racct.enable=1 tunable"

// rctlCommand is rctl RULE, -a RULE, -r RULE, -u SUBJECT.
func rctlCommand(h *Host, _ run.Cmd, args []string) Reply {
	if !h.Racct {
		return Fail(1, "%s", raccOff)
	}
	switch {
	case len(args) == 0:
		return Reply{Out: strings.Join(append(h.limits, ""), "\n")}
	case len(args) == 1 && !strings.HasPrefix(args[0], "-"):
		var b strings.Builder
		for _, l := range h.limits {
			if strings.HasPrefix(l, args[0]+":") {
				b.WriteString(l + "\n")
			}
		}
		return Reply{Out: b.String()}
	case len(args) == 2 && args[0] == "-a":
		f := strings.Split(args[1], ":")
		if len(f) != 4 || !slices.Contains(rctlResources, f[2]) || !strings.Contains(f[3], "=") {
			return Fail(1, "rctl: failed to add rule '%s': Invalid argument", args[1])
		}
		if !slices.Contains(h.limits, args[1]) {
			h.limits = slices.Insert(h.limits, 0, args[1])
		}
		return Reply{}
	case len(args) == 2 && args[0] == "-r":
		n := len(h.limits)
		h.limits = slices.DeleteFunc(h.limits, func(l string) bool { return l == args[1] || strings.HasPrefix(l, args[1]+":") })
		if n == len(h.limits) {
			return Fail(1, "rctl: failed to remove rule '%s': No such process", args[1])
		}
		return Reply{}
	case len(args) == 2 && args[0] == "-u":
		return h.usage(strings.TrimPrefix(args[1], "jail:"))
	}
	return Fail(1, "freebsdtest: rctl %s: not modelled", strings.Join(args, " "))
}

var rctlResources = []string{
	"cputime", "datasize", "stacksize", "coredumpsize", "memoryuse", "memorylocked", "maxproc", "openfiles", "vmemoryuse",
	"pseudoterminals", "swapuse", "nthr", "msgqqueued", "msgqsize", "nmsgq", "nsem", "nsemop", "nshm", "shmsize", "wallclock", "pcpu",
	"readbps", "writebps", "readiops", "writeiops",
}

// usage answers for a jail that is not there as well, with zeros: seen.
func (h *Host) usage(name string) Reply {
	n := 0
	if j := h.jail(name); j != nil {
		for _, p := range h.procs.list {
			if p.JID == j.JID {
				n++
			}
		}
	}
	var b strings.Builder
	for _, r := range rctlResources {
		v := 0
		switch r {
		case "maxproc", "nthr":
			v = n
		case "memoryuse":
			v = n << 20
		}
		fmt.Fprintf(&b, "%s=%d\n", r, v)
	}
	return Reply{Out: b.String()}
}

// cpusetCommand is cpuset -l LIST -j NAME on a host with processors 0 and 1.
func cpusetCommand(h *Host, _ run.Cmd, args []string) Reply {
	if len(args) != 4 || args[0] != "-l" || args[2] != "-j" {
		return Fail(1, "freebsdtest: cpuset %s: not modelled", strings.Join(args, " "))
	}
	if h.jail(args[3]) == nil {
		return Fail(1, "cpuset: jail %q not found", args[3])
	}
	if strings.ContainsAny(args[1], "23456789") {
		return Fail(1, "cpuset: setaffinity: Invalid argument")
	}
	h.cpus[args[3]] = args[1]
	return Reply{}
}

func defaultSysctls() map[string]string {
	return map[string]string{
		"kern.osreldate": "1501000", "kern.features.vimage": "1", "security.jail.jailed": "0", "kern.hostuuid": "11111111-2222-3333-4444-555555555555",
		"net.link.bridge.pfil_member": "0", "net.link.bridge.pfil_bridge": "0", "net.link.bridge.pfil_onlyip": "1", "net.inet.ip.forwarding": "0",
		"hw.ncpu": "2", "hw.physmem": "4294967296", "kern.osrelease": "15.1-RELEASE-p1",
	}
}

// SetSysctl sets one, "" takes it away.
func (h *Host) SetSysctl(name, value string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if value == "" {
		delete(h.sysctls, name)
		return
	}
	h.sysctls[name] = value
}

// Sysctl reads one; handlers of other files may use it, locked.
func (h *Host) Sysctl(name string) (string, bool) {
	if name == "kern.racct.enable" {
		if h.Racct {
			return "1", true
		}
		return "0", true
	}
	v, ok := h.sysctls[name]
	return v, ok
}

// sysctlCommand is sysctl -n NAME, sysctl -N security.jail.param and sysctl NAME=VALUE.
func sysctlCommand(h *Host, _ run.Cmd, args []string) Reply {
	if slices.Equal(args, []string{"-N", "security.jail.param"}) {
		var b strings.Builder
		for _, p := range append(slices.Clone(known), "meta") {
			if !strings.HasPrefix(p, "exec.") && !strings.HasPrefix(p, "mount") {
				b.WriteString("security.jail.param." + p + "\n")
			}
		}
		return Reply{Out: b.String()}
	}
	if len(args) == 2 && args[0] == "-n" {
		if v, ok := h.Sysctl(args[1]); ok {
			return Reply{Out: v + "\n"}
		}
		return Fail(1, "sysctl: unknown oid '%s'", args[1])
	}
	if len(args) == 1 {
		if name, value, ok := strings.Cut(args[0], "="); ok {
			old := h.sysctls[name]
			h.sysctls[name] = value
			return Reply{Out: name + ": " + old + " -> " + value + "\n"}
		}
	}
	return Fail(1, "freebsdtest: sysctl %s: not modelled", strings.Join(args, " "))
}
