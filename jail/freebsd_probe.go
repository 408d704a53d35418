package jail

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// bsdFeatures is what this kernel and its tools can do.
type bsdFeatures struct {
	osreldate int             // 1501000 is 15.1
	release   string          // "15.1-RELEASE-p1"
	params    map[string]bool // of jails, that the kernel knows
	jexecDir  bool            // jexec has -d
}

const minRelDate = 1400000

// known says whether the kernel has a jail parameter. One that it does not know keeps the jail from starting.
func (b *bsdFeatures) known(p string) bool { return b.params[p] }

func (f *FreeBSD) features(ctx context.Context) (*bsdFeatures, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.feats != nil {
		return f.feats, nil
	}
	text, err := f.sysctl(ctx, "-n", "kern.osreldate")
	if err != nil {
		return nil, fmt.Errorf("read the system's version: %w", err)
	}
	b := &bsdFeatures{params: map[string]bool{}}
	if b.osreldate, err = strconv.Atoi(text); err != nil {
		return nil, fmt.Errorf("read the system's version: kern.osreldate is %q", text)
	}
	b.jexecDir = b.osreldate >= 1500000
	if b.release, err = f.sysctl(ctx, "-n", "kern.osrelease"); err != nil {
		return nil, fmt.Errorf("read the system's version: %w", err)
	}
	list, err := f.sysctl(ctx, "-N", "security.jail.param")
	if err != nil {
		return nil, fmt.Errorf("read the parameters of jails: %w", err)
	}
	for _, p := range strings.Fields(list) {
		b.params[strings.TrimSuffix(strings.TrimPrefix(p, "security.jail.param."), ".")] = true
	}
	// Read back as it should since 15.1; before, its format changed.
	b.params["meta"] = b.params["meta"] && b.osreldate >= 1501000
	f.feats = b
	return b, nil
}

func (f *FreeBSD) sysctl(ctx context.Context, args ...string) (string, error) {
	res, err := f.cfg.Runner.Run(ctx, run.Cmd{Argv: append([]string{"/sbin/sysctl"}, args...), Timeout: toolLimit})
	return strings.TrimSpace(string(res.Stdout)), err
}

// Probe reads what the kernel says of itself; it makes no jail. The error says what is missing and how to get it.
func (f *FreeBSD) Probe(ctx context.Context) (Features, error) {
	b, err := f.features(ctx)
	if err != nil {
		return Features{}, fmt.Errorf("jails do not work here: %w", err)
	}
	if b.osreldate < minRelDate {
		return Features{}, fmt.Errorf("jails do not work here: FreeBSD %s is too old; 14.0 is the first that is supported", b.release)
	}
	if in, err := f.sysctl(ctx, "-n", "security.jail.jailed"); err != nil || in != "0" {
		return Features{}, errors.Join(errors.New("this is a jail itself: run rexcarcer on the host"), err)
	}
	if v, err := f.sysctl(ctx, "-n", "kern.features.vimage"); err != nil || v != "1" {
		return Features{}, errors.Join(errors.New("the kernel has no VIMAGE, so jails get no network of their own: use the GENERIC kernel"), err)
	}
	num, rules, err := rulesetOf(Spec{})
	if err == nil {
		err = f.ensureRuleset(ctx, num, rules)
	}
	if err != nil {
		return Features{}, fmt.Errorf("jails do not work here: %w", err)
	}
	out := Features{Driver: "jail", Runtime: "jail(8), FreeBSD " + b.release, ExitInfo: true, Limits: []string{"cpuset"}}
	counts, err := f.racct(ctx)
	if err != nil {
		return Features{}, fmt.Errorf("jails do not work here: %w", err)
	}
	if counts {
		out.Limits = []string{"cpu", "cpuset", "memory", "pids"}
	} else {
		out.LimitsReason = racctRemedy
		out.Notes = append(out.Notes, "no limits but cpuset: "+racctRemedy)
	}
	out.Notes = append(out.Notes, "root in a jail is root of the host, kept in by the jail: there are no id ranges", "read-only roots are not made")
	return out, nil
}
