package jail

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// The devfs rulesets of our jails. Each stands for itself: it hides all and shows what is listed, without an include. An
// include of a set that is empty (rc.d/devfs did not run) or that includes others hides nothing (devfs(8), rule depth), and
// a jail whose ruleset does not exist sees every device of the host.
const (
	rulesetJail   = 7000
	rulesetRouter = 7001
)

// jailDevices is what every jail sees.
var jailDevices = []string{
	"null", "zero", "full", "random", "urandom", "crypto", "fd", "fd/*", "stdin", "stdout", "stderr", "tty", "ptmx", "pts", "pts/*",
}

// routerDevices are added for who filters packets (pf(4)) and sees them raw (bpf(4)).
var routerDevices = []string{"pf", "bpf", "bpf*"}

type devfsRule struct {
	num  int
	spec string
}

// rulesOf is the whole ruleset that shows these devices.
func rulesOf(devices []string) []devfsRule {
	rules := []devfsRule{{100, "hide"}}
	for _, d := range devices {
		rules = append(rules, devfsRule{100 * (len(rules) + 1), "path " + d + " unhide"})
	}
	return rules
}

// rulesetOf is the number and content of the ruleset for s.
func rulesetOf(s Spec) (int, []devfsRule, error) {
	if len(s.Devices) == 0 {
		return rulesetJail, rulesOf(jailDevices), nil
	}
	for _, d := range s.Devices {
		if !slices.Contains(routerDevices, d) {
			return 0, nil, fmt.Errorf("%w: device %q is not given to jails", ErrFinal, d)
		}
	}
	return rulesetRouter, rulesOf(append(slices.Clone(jailDevices), routerDevices...)), nil
}

// parseRules reads devfs rule show: "400 path bpf* unhide".
func parseRules(out string) ([]devfsRule, error) {
	var rules []devfsRule
	for l := range strings.Lines(out) {
		num, spec, ok := strings.Cut(strings.TrimSpace(l), " ")
		if !ok {
			continue
		}
		n, err := strconv.Atoi(num)
		if err != nil {
			return nil, fmt.Errorf("read devfs rules: %q is no rule", strings.TrimSpace(l))
		}
		rules = append(rules, devfsRule{n, strings.Join(strings.Fields(spec), " ")})
	}
	return rules, nil
}

// devfsLock is held while a ruleset is looked at and written: the sets belong to the host.
var devfsLock sync.Mutex

// ensureRuleset makes ruleset num hold exactly want, and reads it back. It is asked before every start: after a boot the
// sets are empty, and a jail that starts with an empty one sees everything.
func (f *FreeBSD) ensureRuleset(ctx context.Context, num int, want []devfsRule) error {
	devfsLock.Lock()
	defer devfsLock.Unlock()
	have, err := f.showRuleset(ctx, num)
	if err != nil || slices.Equal(have, want) {
		return err
	}
	if !subset(have, want) { // of another version, or by hand
		if err := f.dropRuleset(ctx, num); err != nil {
			return err
		}
		have = nil
	}
	for _, r := range want {
		if slices.Contains(have, r) {
			continue
		}
		argv := append([]string{devfsPath, "rule", "-s", strconv.Itoa(num), "add", strconv.Itoa(r.num)}, strings.Fields(r.spec)...)
		if _, err := f.cfg.Runner.Run(ctx, run.Cmd{Argv: argv, Timeout: toolLimit}); err != nil {
			return fmt.Errorf("write devfs ruleset %d: %w", num, err)
		}
	}
	if have, err = f.showRuleset(ctx, num); err != nil {
		return err
	}
	if !slices.Equal(have, want) {
		return fmt.Errorf("devfs ruleset %d reads back as %v: no jail is started with it", num, have)
	}
	return nil
}

const devfsPath = "/sbin/devfs"

func (f *FreeBSD) showRuleset(ctx context.Context, num int) ([]devfsRule, error) {
	res, err := f.cfg.Runner.Run(ctx, run.Cmd{Argv: []string{devfsPath, "rule", "-s", strconv.Itoa(num), "show"}, Timeout: toolLimit})
	if err != nil {
		return nil, fmt.Errorf("read devfs ruleset %d: %w", num, err)
	}
	return parseRules(string(res.Stdout))
}

// dropRuleset empties a set that no jail uses: one that is in use would show every device that appears meanwhile.
func (f *FreeBSD) dropRuleset(ctx context.Context, num int) error {
	jails, err := f.kernelJails(ctx)
	if err != nil {
		return err
	}
	for _, j := range jails {
		if j.ruleset == num {
			return fmt.Errorf("devfs ruleset %d is not what this version writes, and jail %s uses it: %w", num, j.name,
				errors.New("stop the jails with that ruleset (jls devfs_ruleset name), then start again"))
		}
	}
	if _, err := f.cfg.Runner.Run(ctx, run.Cmd{Argv: []string{devfsPath, "rule", "-s", strconv.Itoa(num), "delset"}, Timeout: toolLimit}); err != nil {
		return fmt.Errorf("empty devfs ruleset %d: %w", num, err)
	}
	return nil
}

// subset says that every rule of have is one of want: what a start that was killed has left.
func subset(have, want []devfsRule) bool {
	for _, r := range have {
		if !slices.Contains(want, r) {
			return false
		}
	}
	return true
}
