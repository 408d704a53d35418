package spec

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

func (c *checker) checkJails() {
	var prev *Jail // replicas of a group are mostly alike: look once at what is the same
	for i := range c.w.Jails {
		if c.full() {
			return
		}
		j := &c.w.Jails[i]
		path, what := "jail/"+j.Group, fmt.Sprintf("jail %q", clip(j.Name))
		c.checkIdentity(j, path, what)
		c.checkNICs(j, path, what)
		c.checkProcess(j, path, what)
		if prev == nil || prev.Group != j.Group || !alike(prev, j) {
			c.checkRest(j, path, what)
		}
		prev = j
	}
}

// checkRest is everything that alike compares.
func (c *checker) checkRest(j *Jail, path, what string) {
	c.err(path+"/image", what, ValidImageName(j.Image))
	if j.ImageKey != "" && !digestKey.MatchString(j.ImageKey) {
		c.bad(path+"/image", "", "%s: the image's key %q is not sha256: and 64 hex digits", what, clip(j.ImageKey))
	}
	c.oneOf(path+"/runtime", what+": runtime", j.Runtime, "", "jail", "linux", "sim")
	c.oneOf(path+"/os", what+": os", j.OS, "", "freebsd", "linux")
	c.oneOf(path+"/arch", what+": arch", j.Arch, "", "amd64", "arm64")
	c.checkServices(path, what, j.Services)
	c.checkVolumes(j, path, what)
	c.checkLimits(&j.Limits, path+"/limits", what+": limits")
	c.checkPacing(j, path, what)
	c.checkPlacement(&j.Place, path+"/placement", what+": placement")
}

// alike says that what checkRest looks at is the same in a and b.
func alike(a, b *Jail) bool {
	sameService := func(x, y Service) bool {
		if x.Check == nil || y.Check == nil {
			return x == y
		}
		k, l := *x.Check, *y.Check
		return x.Name == y.Name && x.Port == y.Port && x.Proto == y.Proto &&
			k.Type == l.Type && k.Path == l.Path && slices.Equal(k.Command, l.Command) &&
			k.Interval == l.Interval && k.Timeout == l.Timeout && k.Grace == l.Grace && k.Failures == l.Failures
	}
	p, q := a.Place, b.Place
	return a.Image == b.Image && a.ImageKey == b.ImageKey && a.Runtime == b.Runtime && a.OS == b.OS && a.Arch == b.Arch &&
		slices.EqualFunc(a.Services, b.Services, sameService) && slices.Equal(a.Volumes, b.Volumes) &&
		a.Limits == b.Limits && a.Restart == b.Restart && a.Update == b.Update && a.Stop == b.Stop &&
		p.Spread == q.Spread && p.BinPack == q.BinPack && p.Priority == q.Priority && p.Host == q.Host &&
		slices.Equal(p.Constraint, q.Constraint) && slices.Equal(p.Affinity, q.Affinity)
}

func (c *checker) checkIdentity(j *Jail, path, what string) {
	c.err(path, "jail", ValidName(j.Group))
	want := j.Group
	if j.Index > 0 {
		want += "-" + strconv.Itoa(j.Index)
	}
	if j.Name != want {
		c.bad(path, "", "%s: replica %d of group %q must be called %q", what, j.Index, clip(j.Group), clip(want))
	} else if j.Group != j.Name {
		c.err(path, what, ValidName(j.Name))
	}
	if j.Replicas < 1 || j.Replicas > MaxCount || j.Index < 0 || j.Index > j.Replicas || j.Index == 0 && j.Replicas != 1 {
		c.bad(path+"/count", "", "%s: replica %d of %d is impossible (1 to %d)", what, j.Index, j.Replicas, MaxCount)
	}
	if j.Hostname != "" {
		c.err(path+"/hostname", what, ValidHostname(j.Hostname))
	}
}

func (c *checker) oneOf(path, what, got string, allowed ...string) {
	for _, a := range allowed {
		if got == a {
			return
		}
	}
	words := allowed
	if len(words) > 0 && words[0] == "" {
		words = words[1:]
	}
	c.bad(path, suggest(got, words), "%s: %q is not one of %s", what, clip(got), strings.Join(words, ", "))
}

func (c *checker) checkNICs(j *Jail, path, what string) {
	if j.Socket && len(j.NICs) == 0 {
		c.bad(path+"/socket", "leave socket out, or give it a network", "%s: it is in no network, so there is no socket to ask on", what)
	}
	if len(j.NICs) > MaxNICs {
		c.bad(path+"/nic", "", "%s: %d network interfaces, %d are the most", what, len(j.NICs), MaxNICs)
		return
	}
	for i, n := range j.NICs {
		path := path + "/nic/" + strconv.Itoa(i)
		if err := ValidName(n.Network); err != nil {
			c.bad(path+"/network", "", "%s: network: %v", what, err)
		}
		for _, other := range j.NICs[:i] {
			if other.Network == n.Network {
				c.bad(path+"/network", "", "%s: is in network %q twice", what, clip(n.Network))
			}
		}
		if n.Addr.IsValid() && !n.Addr.Is4() {
			c.bad(path+"/address", "use address6", "%s: the address %s is not IPv4", what, n.Addr)
		}
		if n.Addr6.IsValid() && !n.Addr6.Is6() {
			c.bad(path+"/address6", "use address", "%s: the address6 %s is not IPv6", what, n.Addr6)
		}
	}
}

func (c *checker) checkProcess(j *Jail, path, what string) {
	c.checkArgv(path+"/command", what+": command", j.Command)
	c.checkEnv(path+"/env", what, j.Env)
	if j.User != "" && !userName.MatchString(j.User) {
		c.bad(path+"/user", "", "%s: the user %q is not a name, a number or UID:GID", what, clip(j.User))
	}
	if j.WorkDir != "" {
		c.err(path+"/workdir", what+": workdir", ValidPath(j.WorkDir))
	}
}

func (c *checker) checkArgv(path, what string, argv []string) {
	if len(argv) > MaxArgs {
		c.bad(path, "", "%s has %d words, %d are the most", what, len(argv), MaxArgs)
		return
	}
	for i, a := range argv {
		if err := validValue(a, MaxArgBytes); err != nil {
			c.bad(path, "", "%s: word %d %v", what, i+1, err)
		}
	}
	if len(argv) > 0 && argv[0] == "" {
		c.bad(path, "", "%s: the program's name is empty", what)
	}
}

func (c *checker) checkEnv(path, what string, env []EnvVar) {
	if len(env) > MaxEnv {
		c.bad(path, "", "%s has %d variables, %d are the most", what, len(env), MaxEnv)
		return
	}
	total := 0
	for _, e := range env {
		if err := validEnvName(e.Name); err != nil {
			c.bad(path+"/"+e.Name, "", "%s: env: %v", what, err)
		}
		if err := validValue(e.Value, MaxEnvBytes); err != nil {
			c.bad(path+"/"+e.Name, "", "%s: env: the value of %s %v", what, clip(e.Name), err)
		}
		total += len(e.Name) + len(e.Value)
	}
	if total > 4*MaxEnvBytes {
		c.bad(path, "", "%s: env: %d bytes in all, %d are the most", what, total, 4*MaxEnvBytes)
	}
}

func (c *checker) checkLimits(l *Limits, path, what string) {
	if l.MemoryBytes != 0 && (l.MemoryBytes < MinMemoryBytes || l.MemoryBytes > MaxBytes) {
		c.bad(path+"/memory", "", "%s: memory %s is not between %s and %s", what, FormatSize(l.MemoryBytes), FormatSize(MinMemoryBytes), FormatSize(MaxBytes))
	}
	if l.CPU != 0 && !(l.CPU >= 0.01 && l.CPU <= 1024) || math.IsNaN(l.CPU) {
		c.bad(path+"/cpu", "", "%s: cpu %v is not between 0.01 and 1024 cores", what, l.CPU)
	}
	c.number(path+"/processes", what+": processes", l.Processes, 0, 4<<20)
	c.number(path+"/open_files", what+": open_files", l.OpenFiles, 0, 16<<20)
	if l.CPUSet != "" {
		c.checkCPUSet(l.CPUSet, path+"/cpuset", what)
	}
}

func (c *checker) checkCPUSet(s, path, what string) {
	if !cpuSet.MatchString(s) {
		c.bad(path, "", `%s: cpuset %q is not a list such as "0,2-3"`, what, clip(s))
		return
	}
	for part := range strings.SplitSeq(s, ",") {
		first, last, ranged := strings.Cut(part, "-")
		if a, _ := strconv.Atoi(first); ranged {
			if b, _ := strconv.Atoi(last); b < a {
				c.bad(path, "", "%s: cpuset %q: %s goes backwards", what, s, part)
			}
		}
	}
}

func (c *checker) checkPacing(j *Jail, path, what string) {
	r, u := j.Restart, j.Update
	c.duration(path+"/stop_timeout", what+": stop_timeout", j.Stop, time.Millisecond, time.Hour)
	c.oneOf(path+"/restart/policy", what+": restart: policy", r.Policy, "always", "on-failure", "never")
	c.duration(path+"/restart/backoff", what+": restart: backoff", r.Backoff, 10*time.Millisecond, time.Hour)
	c.duration(path+"/restart/max_backoff", what+": restart: max_backoff", r.MaxBackoff, 10*time.Millisecond, 24*time.Hour)
	if r.MaxBackoff < r.Backoff {
		c.bad(path+"/restart/max_backoff", "", "%s: restart: max_backoff %v is shorter than backoff %v", what, r.MaxBackoff, r.Backoff)
	}
	c.number(path+"/restart/attempts", what+": restart: attempts", int64(r.Attempts), 0, 10_000)
	c.number(path+"/update/max_parallel", what+": update: max_parallel", int64(u.MaxParallel), 1, MaxCount)
	c.duration(path+"/update/min_healthy", what+": update: min_healthy", u.MinHealthy, 0, 24*time.Hour)
}

func (c *checker) checkPlacement(p *Placement, path, what string) {
	if p.Spread != "" && p.Spread != "host" {
		c.err(path+"/spread", what+": spread", validLabelKey(p.Spread))
	}
	if p.Host != "" {
		c.err(path+"/host", what+": host", ValidHostname(p.Host))
	}
	c.number(path+"/priority", what+": priority", int64(p.Priority), 0, 100)
	if len(p.Constraint) > MaxConstraints || len(p.Affinity) > MaxConstraints {
		c.bad(path, "", "%s: more than %d expressions", what, MaxConstraints)
		return
	}
	for _, e := range p.Constraint {
		if _, err := ParseConstraint(e); err != nil {
			c.bad(path+"/constraint", "", "%s: constraint %v", what, err)
		}
	}
	for _, e := range p.Affinity {
		if _, err := ParseAffinity(e); err != nil {
			c.bad(path+"/affinity", "", "%s: affinity %v", what, err)
		}
	}
}

func (c *checker) duration(path, what string, d, least, most time.Duration) {
	if d < least || d > most {
		c.bad(path, "", "%s: %v is not between %v and %v", what, d, least, most)
	}
}

func (c *checker) number(path, what string, n, least, most int64) {
	if n < least || n > most {
		c.bad(path, "", "%s: %d is not between %d and %d", what, n, least, most)
	}
}
