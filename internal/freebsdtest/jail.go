package freebsdtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// Jail is one of the kernel's.
type Jail struct {
	JID    int
	Name   string
	Path   string
	Params map[string]string
	Dying  int // 0: alive; else how many looks it stays
}

// jail finds one that is alive by name or jid; h is locked.
func (h *Host) jail(name string) *Jail {
	for _, j := range h.jails {
		if j.Dying == 0 && (j.Name == name || strconv.Itoa(j.JID) == name) {
			return j
		}
	}
	return nil
}

// JailByName is jail for handlers and tests that hold no lock of ours.
func (h *Host) JailByName(name string) *Jail {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.jail(name)
}

// FindJail is for handlers of other files, which run with the Host locked.
func (h *Host) FindJail(name string) *Jail { return h.jail(name) }

func (h *Host) showJails() string {
	var b strings.Builder
	for _, j := range h.jails {
		dying := ""
		if j.Dying > 0 {
			dying = " dying"
		}
		n := 0
		for _, p := range h.procs.list {
			if p.JID == j.JID {
				n++
			}
		}
		fmt.Fprintf(&b, "%s path=%s uuid=%s vnet=%s devfs=%s procs=%d%s\n", j.Name, j.Path, j.Params["host.hostuuid"], j.Params["vnet"],
			j.Params["devfs_ruleset"], n, dying)
	}
	return b.String()
}

// known are the parameters that jail(8) itself or the kernel of 15.1 knows, as far as a driver may use them.
var known = []string{
	"path", "ip4", "ip6", "host.hostname", "host.hostuuid", "vnet", "vnet.interface", "persist", "devfs_ruleset", "mount.devfs", "mount", "mount.fstab",
	"enforce_statfs", "children.max", "securelevel", "exec.clean", "exec.timeout", "stop.timeout", "exec.consolelog", "exec.start", "exec.stop",
	"exec.prestart", "exec.poststart", "exec.prestop", "exec.poststop", "exec.created", "exec.prepare", "exec.release",
	"allow.raw_sockets", "allow.set_hostname", "allow.mount", "allow.sysvipc", "allow.reserved_ports", "allow.chflags", "allow.socket_af",
	"sysvmsg", "sysvsem", "sysvshm",
}

// JailCommand is jail(8): -c, -r, -R and -m.
func JailCommand(h *Host, _ run.Cmd, args []string) Reply {
	var file, name string
	var verb byte
	var conf Conf
	quiet := false
	for i := 0; i < len(args); i++ {
		switch a := args[i]; a {
		case "-f":
			i++
			if i < len(args) {
				file = args[i]
			}
		case "-q":
			quiet = true
		case "-c", "-r", "-R", "-m":
			if verb != 0 {
				return Fail(1, "freebsdtest: jail %c%s: two verbs in one call are not to be relied on", verb, a)
			}
			verb = a[1]
		default:
			if k, v, _ := strings.Cut(a, "="); verb == 'c' && file == "" {
				if k == "name" {
					conf.Name = v
				} else {
					conf.Params = append(conf.Params, Param{k, slices.DeleteFunc([]string{v}, func(s string) bool { return s == "" })})
				}
				continue
			}
			if name != "" || strings.HasPrefix(a, "-") {
				return Fail(1, "freebsdtest: jail %s: not modelled", strings.Join(args, " "))
			}
			name = a
		}
	}
	if file != "" {
		text, err := readFile(file)
		if err != nil {
			return Fail(1, "jail: %s: No such file or directory", file)
		}
		all, err := ReadConf(text)
		if err != nil {
			return Fail(1, "jail: %s: syntax error: %v", file, err)
		}
		i := slices.IndexFunc(all, func(c Conf) bool { return c.Name == name })
		if i < 0 {
			return Fail(1, "jail: %q not found", name)
		}
		conf = all[i]
	}
	switch {
	case verb == 'c' && (file != "" || conf.Name != ""):
		return h.create(conf, quiet)
	case verb == 'r':
		return h.remove(name, conf, file != "", quiet)
	case verb == 'R':
		return h.removeHard(name)
	}
	return Fail(1, "freebsdtest: jail %s: not modelled", strings.Join(args, " "))
}

func (h *Host) create(c Conf, quiet bool) Reply {
	for _, p := range c.Params {
		if !slices.Contains(known, p.Name) && !strings.HasPrefix(p.Name, "meta.") {
			return Fail(1, "jail: %s: unknown parameter: %s", c.Name, p.Name)
		}
	}
	if h.jail(c.Name) != nil {
		return Fail(1, "jail: %q already exists", c.Name)
	}
	if i := strings.LastIndexByte(c.Name, '.'); i >= 0 {
		parent := h.jail(c.Name[:i])
		if parent == nil {
			return Fail(1, "jail: jail %q not found", c.Name[:i])
		}
		for _, p := range []string{"sysvmsg", "sysvsem", "sysvshm"} { // sysv_shm.c: disabled in the parent is disabled below
			if v := parent.Params[p]; c.Value(p) == "new" && v != "new" && v != "inherit" {
				return Fail(1, "jail: %s: jail_set: Operation not permitted", c.Name)
			}
		}
	}
	path := c.Value("path")
	if !filepath.IsAbs(path) {
		return Fail(1, "jail: path %s: No such file or directory", path)
	}
	undo, r := h.mountAll(c, path)
	if r.RC != 0 {
		undo()
		return r
	}
	if _, err := os.Stat(path); err != nil {
		undo()
		return Fail(1, "jail: %s: path %s: No such file or directory", c.Name, path)
	}
	if log := c.Value("exec.consolelog"); log != "" {
		if _, err := os.Stat(filepath.Dir(log)); err != nil {
			undo()
			return Fail(1, "jail: %s: open %s: No such file or directory", c.Name, log)
		}
	}
	h.nextJID++
	j := &Jail{JID: h.nextJID, Name: c.Name, Path: path, Params: map[string]string{}}
	for _, p := range c.Params {
		j.Params[p.Name] = strings.Join(p.Values, ",")
	}
	h.jails = append(h.jails, j)
	interfaces, _ := c.Get("vnet.interface")
	for _, i := range interfaces {
		argv := []string{"/sbin/ifconfig", i, "vnet", strconv.Itoa(j.JID)}
		if r := h.Call(run.Cmd{Argv: argv}); r.RC != 0 {
			r.Err += fmt.Sprintf("jail: %s: %s: failed\n", c.Name, strings.Join(argv, " "))
			h.gone(j)
			undo()
			return r
		}
	}
	if starts, _ := c.Get("exec.start"); len(starts) > 0 && strings.Contains(starts[0], "exit 3") {
		h.gone(j)
		undo()
		return Fail(1, "jail: %s: /bin/sh -c %s: failed", c.Name, starts[0])
	}
	if quiet {
		return Reply{}
	}
	return Reply{Out: c.Name + ": created\n"}
}

// mountAll does the mounts of c in the order of jail(8); undo takes back those that were made.
func (h *Host) mountAll(c Conf, path string) (undo func(), r Reply) {
	made := 0
	undo = func() { h.mounts = h.mounts[:len(h.mounts)-made] }
	lines, _ := c.Get("mount")
	for _, l := range lines {
		f := strings.Fields(l)
		if len(f) < 4 {
			return undo, Fail(1, "jail: %s: mount: %s: not an fstab line", c.Name, l)
		}
		src, dst := unvis(f[0]), unvis(f[1])
		if r := checkPath(c.Name, "mount", dst, path); r.RC != 0 {
			return undo, r
		}
		if _, err := os.Stat(src); err != nil {
			r := Fail(1, "mount_nullfs: %s: No such file or directory", src)
			r.Err += fmt.Sprintf("jail: %s: /sbin/mount -t %s -o %s %s %s: failed\n", c.Name, f[2], f[3], src, dst)
			return undo, r
		}
		h.mounts = append(h.mounts, Mount{Special: src, Node: dst, Type: f[2], Opts: f[3]})
		made++
	}
	if _, ok := c.Get("mount.devfs"); ok {
		dev := filepath.Join(path, "dev")
		if r := checkPath(c.Name, "mount.devfs", dev, path); r.RC != 0 {
			return undo, r
		}
		h.mounts = append(h.mounts, Mount{Special: "devfs", Node: dev, Type: "devfs", Opts: "rw"})
		made++
	}
	return undo, Reply{}
}

// checkPath refuses what is not there and what is reached through a link below the jail's path.
func checkPath(name, param, path, root string) Reply {
	at := root
	for part := range strings.SplitSeq(strings.TrimPrefix(path, root), "/") {
		at = filepath.Join(at, part)
		info, err := os.Lstat(at)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return Fail(1, "jail: %s: %s: %s: No such file or directory", name, param, path)
		case err == nil && info.Mode()&fs.ModeSymlink != 0:
			return Fail(1, "jail: %s: %s: %s is a symbolic link", name, param, at)
		}
	}
	return Reply{}
}

// gone removes j from the kernel, or lets it die for a while.
func (h *Host) gone(j *Jail) {
	for _, c := range slices.Clone(h.jails) { // children go first
		if strings.HasPrefix(c.Name, j.Name+".") && c.Dying == 0 {
			h.gone(c)
		}
	}
	h.signal(j, syscall.SIGKILL)
	if h.DyingFor > 0 {
		j.Dying = h.DyingFor
		return
	}
	h.bury(j)
}

func (h *Host) bury(j *Jail) {
	h.jails = slices.DeleteFunc(h.jails, func(o *Jail) bool { return o == j })
	delete(h.cpus, j.Name)
	for _, f := range h.onGone {
		f(j)
	}
}

func (h *Host) remove(name string, c Conf, withFile, quiet bool) Reply {
	j := h.jail(name)
	if j == nil && withFile && quiet {
		return Reply{RC: 1} // and no text: seen
	}
	if j == nil {
		return Fail(1, "jail: %q not found", name)
	}
	if stops, _ := c.Get("exec.stop"); len(stops) > 0 && strings.Contains(stops[0], "exit 3") {
		return Fail(1, "jail: %s: /bin/sh -c %s: failed", name, stops[0])
	}
	timeout := 10
	if v := c.Value("stop.timeout"); v != "" {
		timeout, _ = strconv.Atoi(v)
	}
	if timeout > 0 {
		h.signal(j, syscall.SIGTERM)
		h.awaitIdle(j, time.Duration(timeout)*time.Second)
	}
	h.gone(j)
	if withFile {
		h.unmountBelow(j.Path)
	}
	return Reply{}
}

// removeHard knows no file: it leaves mounts.
func (h *Host) removeHard(name string) Reply {
	j := h.jail(name)
	if j == nil {
		return Fail(1, "jail: %q not found", name)
	}
	h.signal(j, syscall.SIGTERM)
	h.awaitIdle(j, 10*time.Second)
	h.gone(j)
	return Reply{}
}

// awaitIdle gives processes their time; noted ones end at once or never.
func (h *Host) awaitIdle(j *Jail, limit time.Duration) {
	if !h.procs.chroot {
		return
	}
	h.mu.Unlock() // jail(8) waits, and the host goes on
	defer h.mu.Lock()
	for end := time.Now().Add(limit); time.Now().Before(end); {
		h.mu.Lock()
		busy := h.busy(j)
		h.mu.Unlock()
		if !busy {
			return
		}
		<-time.After(5 * time.Millisecond)
	}
}

// jlsCommand is jls -d -n --libxo json with parameters, and jls -j NAME PARAM.
func jlsCommand(h *Host, _ run.Cmd, args []string) Reply {
	var dying, asJSON bool
	var name string
	var params []string
	for i := 0; i < len(args); i++ {
		switch args[i] {
		case "-d":
			dying = true
		case "-n":
		case "--libxo":
			i++
			asJSON = i < len(args) && args[i] == "json"
		case "-j":
			i++
			name = args[i]
		default:
			if strings.HasPrefix(args[i], "-") {
				return Fail(1, "freebsdtest: jls %s: not modelled", args[i])
			}
			params = append(params, args[i])
		}
	}
	if name != "" && h.jail(name) == nil {
		return Fail(1, "jls: jail %q not found", name)
	}
	if !asJSON {
		return Fail(1, "freebsdtest: jls without --libxo json: not modelled")
	}
	list := []map[string]any{}
	for _, j := range slices.Clone(h.jails) {
		if j.Dying > 0 {
			if j.Dying--; j.Dying == 0 {
				h.bury(j)
				continue
			}
		}
		if (j.Dying > 0 && !dying) || (name != "" && j.Name != name) {
			continue
		}
		list = append(list, j.show(params))
	}
	raw, err := json.Marshal(map[string]any{"__version": "2", "jail-information": map[string]any{"jail": list}})
	if err != nil {
		return Fail(1, "jls: %v", err)
	}
	return Reply{Out: string(raw) + "\n"}
}

func (j *Jail) show(params []string) map[string]any {
	out := map[string]any{}
	for _, p := range params {
		switch p {
		case "jid":
			out[p] = strconv.Itoa(j.JID)
		case "name":
			out[p] = j.Name
		case "path":
			out[p] = j.Path
		case "dying":
			out[p] = j.Dying > 0
		case "ip4.addr", "ip6.addr":
			out[p] = []string{}
		case "sysvmsg", "sysvsem", "sysvshm":
			out[p] = j.Params[p]
			if out[p] == "" {
				out[p] = "disable"
			}
		default:
			out[p] = j.Params[p]
		}
	}
	return out
}

// unvis reads the octal escapes of fstab(5).
func unvis(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
