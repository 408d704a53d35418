package jail

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
)

// chooseName is the name of the jail in the kernel: the one that people know, or the id where another jail of ours has it
// already (builds are all called alike). One that shares a network is a child of the jail whose network it is.
func (f *FreeBSD) chooseName(ctx context.Context, s Spec) (string, error) {
	name := s.Name
	if !kernelName.MatchString(name) || f.nameTaken(name, s.ID) {
		name = strings.NewReplacer(".", "-", "_", "-").Replace(s.ID)
		if !kernelName.MatchString(name) {
			name = strings.TrimRight(("r-" + name)[:min(len(name)+2, 63)], "-")
		}
	}
	if s.NetNS != "" {
		name = s.NetNS + "." + name
	}
	all, err := f.kernelJails(ctx)
	if err != nil {
		return "", err
	}
	parent := s.NetNS == ""
	for _, j := range all {
		if j.name == name && !j.dying {
			return "", fmt.Errorf("a jail %s runs on this host (jid %d) that rexcarcer did not make: stop it, or give this one another name", name, j.jid)
		}
		parent = parent || j.name == s.NetNS && !j.dying
	}
	if !parent {
		return "", fmt.Errorf("network namespace: no jail %s runs on this host: %w", s.NetNS, fs.ErrNotExist)
	}
	return name, nil
}

// nameTaken looks into the configurations that are there: one a jail, named after it.
func (f *FreeBSD) nameTaken(name, id string) bool {
	raw, err := os.ReadFile(f.confFile(name))
	if err != nil {
		return false
	}
	owner := ownerOf(string(raw))
	return owner != id && idPattern.MatchString(owner) && exists(f.dir(owner)) // else it is left of a host that went down
}

// writeConf writes the jail's file whole: one that is cut would keep its jail from being stopped. It is not synced, because
// the jail does not survive the crash of a host either.
func (f *FreeBSD) writeConf(ctx context.Context, r *record, ruleset int, stop time.Duration, feats *bsdFeatures) error {
	ipc, err := f.parentIPC(ctx, r.Spec.NetNS, feats)
	if err != nil {
		return err
	}
	known := func(p string) bool { return feats.known(p) && !slices.Contains(ipc, p) }
	text, err := confText(r.Spec.ID, r.Jail, confOf(r.Spec, ruleset, stop, known))
	if err != nil {
		return err
	}
	name := f.confFile(r.Jail)
	if err := os.WriteFile(name+".tmp", []byte(text), 0o600); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	if err := os.Rename(name+".tmp", name); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return nil
}

func stopTime(s Spec, asked time.Duration) time.Duration {
	switch {
	case asked > 0:
		return asked
	case s.StopTimeout > 0:
		return s.StopTimeout
	}
	return defaultStop
}
