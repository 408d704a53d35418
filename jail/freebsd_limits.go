package jail

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

const (
	rctlPath   = "/usr/bin/rctl"
	cpusetPath = "/usr/bin/cpuset"
)

// racctOff begins what rctl(8) says when the kernel counts nothing: "present, but disabled", or "support not present".
const racctOff = "rctl: RACCT/RCTL"

// limitRules are the rctl(8) rules of a jail, as rctl prints them.
func limitRules(name string, l Limits) []string {
	var out []string
	add := func(format string, args ...any) { out = append(out, "jail:"+name+":"+fmt.Sprintf(format, args...)) }
	if l.MemoryBytes > 0 {
		// Resident memory cannot be refused (rctl(8), BUGS); what takes more is killed, as on other systems.
		add("memoryuse:sigkill=%d", l.MemoryBytes)
		add("memoryuse:log=%d", l.MemoryBytes) // says who was killed: see wantedMemory
	}
	if l.CPU > 0 {
		add("pcpu:deny=%d", max(int(l.CPU*100+0.5), 1)) // percent of one core
	}
	if l.Processes > 0 {
		add("maxproc:deny=%d", l.Processes)
		add("nthr:deny=%d", l.Processes) // "processes and threads"
	}
	if l.OpenFiles > 0 {
		add("openfiles:deny=%d/process", l.OpenFiles)
	}
	return out
}

func (l Limits) needRacct() bool {
	return l.MemoryBytes > 0 || l.CPU > 0 || l.Processes > 0 || l.OpenFiles > 0
}

// setLimits makes the rules of the jail those of l: what is too much goes, what is missing comes. Rules go by name and may
// be there before the jail.
func (f *FreeBSD) setLimits(ctx context.Context, name string, l Limits) error {
	on, err := f.racct(ctx)
	if err != nil {
		return err
	}
	if !on {
		if !l.needRacct() {
			return nil
		}
		if f.cfg.StrictLimits {
			return fmt.Errorf("%w: limits cannot be kept on this host: %s", ErrFinal, racctRemedy)
		}
		f.cfg.Log.Warn("limits of the jail are not kept", "jail", name, "why", racctRemedy)
		return nil
	}
	have, err := f.limitsOf(ctx, name)
	if err != nil {
		return err
	}
	want := limitRules(name, l)
	for _, r := range have {
		if !slices.Contains(want, r) {
			if err := f.rctl(ctx, "-r", r); err != nil && !strings.Contains(err.Error(), "No such process") {
				return fmt.Errorf("remove limit: %w", err)
			}
		}
	}
	for _, r := range want {
		if !slices.Contains(have, r) {
			if err := f.rctl(ctx, "-a", r); err != nil {
				return fmt.Errorf("set limit: %w", err)
			}
		}
	}
	return nil
}

const racctRemedy = "the kernel counts no resources: put kern.racct.enable=1 into /boot/loader.conf and reboot"

func (f *FreeBSD) rctl(ctx context.Context, args ...string) error {
	_, err := f.cfg.Runner.Run(ctx, run.Cmd{Argv: append([]string{rctlPath}, args...), Timeout: toolLimit})
	return err
}

func (f *FreeBSD) limitsOf(ctx context.Context, name string) ([]string, error) {
	res, err := f.cfg.Runner.Run(ctx, run.Cmd{Argv: []string{rctlPath, "jail:" + name}, Timeout: toolLimit})
	if err != nil {
		return nil, fmt.Errorf("read limits: %w", err)
	}
	return strings.Fields(string(res.Stdout)), nil
}

// dropLimits removes the rules of a jail that is gone; none is success.
func (f *FreeBSD) dropLimits(ctx context.Context, name string) error {
	if on, err := f.racct(ctx); !on {
		return err
	}
	if err := f.rctl(ctx, "-r", "jail:"+name); err != nil && !strings.Contains(err.Error(), "No such process") {
		return fmt.Errorf("remove limits: %w", err)
	}
	return nil
}

// racct says whether limits and accounting work. That cannot change without a reboot, so it is asked once.
func (f *FreeBSD) racct(ctx context.Context) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.counts != nil {
		return *f.counts, nil
	}
	err := f.rctl(ctx)
	on := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !strings.Contains(err.Error(), racctOff) {
		return false, fmt.Errorf("see whether limits work: %w", err)
	}
	f.counts = &on
	return on, nil
}

// setCPUs keeps the jail's processes on these processors; it is lost with the jail.
func (f *FreeBSD) setCPUs(ctx context.Context, name, list string) error {
	if list == "" {
		return nil
	}
	if _, err := f.cfg.Runner.Run(ctx, run.Cmd{Argv: []string{cpusetPath, "-l", list, "-j", name}, Timeout: toolLimit}); err != nil {
		return fmt.Errorf("cpuset %s: %w", list, err)
	}
	return nil
}

// Update changes the limits of a running jail.
func (f *FreeBSD) Update(ctx context.Context, id string, l Limits) error {
	t, err := f.get(ctx, id)
	if err != nil {
		return fmt.Errorf("update jail %s: %w", id, err)
	}
	if err := l.check(fmt.Errorf); err != nil {
		return fmt.Errorf("update jail %s: %w", id, err)
	}
	t.op.Lock()
	defer t.op.Unlock()
	t.mu.Lock()
	rec := t.rec
	t.mu.Unlock()
	if rec == nil {
		return fmt.Errorf("update jail %s: %w", id, ErrNotFound)
	}
	if err := f.setLimits(ctx, rec.Jail, l); err != nil {
		return fmt.Errorf("update jail %s: %w", id, err)
	}
	cpus := l.CPUSet
	if cpus == "" && rec.Spec.Limits.CPUSet != "" {
		cpus = "all" // cpuset(1)
	}
	if rec.Exit == nil {
		if err := f.setCPUs(ctx, rec.Jail, cpus); err != nil {
			return fmt.Errorf("update jail %s: %w", id, err)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rec == nil {
		return nil
	}
	t.rec.Spec.Limits = l
	return t.rec.save(f.dir(id))
}

// parseUsage reads rctl -u: resource=value, one a line.
func parseUsage(out string) map[string]int64 {
	use := map[string]int64{}
	for l := range strings.Lines(out) {
		name, value, ok := strings.Cut(strings.TrimSpace(l), "=")
		if n, err := strconv.ParseInt(value, 10, 64); ok && err == nil {
			use[name] = n
		}
	}
	return use
}

// Stats asks rctl(8), or adds up the processes where the kernel counts nothing. rctl answers for a jail that is not there
// as well, with zeros.
func (f *FreeBSD) Stats(ctx context.Context, id string) (Stats, error) {
	t, err := f.get(ctx, id)
	if err != nil {
		return Stats{}, fmt.Errorf("stats of jail %s: %w", id, err)
	}
	st, ok := t.status()
	if !ok || st.Phase != Running {
		return Stats{}, fmt.Errorf("stats of jail %s: %w", id, ErrNotFound)
	}
	t.mu.Lock()
	name := t.rec.Jail
	t.mu.Unlock()
	on, err := f.racct(ctx)
	if err != nil {
		return Stats{}, fmt.Errorf("stats of jail %s: %w", id, err)
	}
	if on {
		res, err := f.cfg.Runner.Run(ctx, run.Cmd{Argv: []string{rctlPath, "-u", "jail:" + name}, Timeout: toolLimit})
		if err != nil {
			return Stats{}, fmt.Errorf("stats of jail %s: %w", id, err)
		}
		use := parseUsage(string(res.Stdout))
		return Stats{MemoryBytes: use["memoryuse"], CPUTime: time.Duration(use["cputime"]) * time.Second, PIDs: use["maxproc"]}, nil
	}
	return f.countedByHand(ctx, id, name)
}

func (f *FreeBSD) countedByHand(ctx context.Context, id, name string) (Stats, error) {
	j, err := f.kernelJail(ctx, name)
	if err == nil && j == nil {
		err = ErrNotFound
	}
	if err != nil {
		return Stats{}, fmt.Errorf("stats of jail %s: %w", id, err)
	}
	all, err := f.kern.processes()
	if err != nil {
		return Stats{}, fmt.Errorf("stats of jail %s: %w", id, err)
	}
	var s Stats
	for _, p := range all {
		if p.jid == j.jid {
			s.PIDs++
			s.MemoryBytes += p.rss
			s.CPUTime += p.cpu
		}
	}
	return s, nil
}
