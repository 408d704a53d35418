package jail

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

var idPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,99}$`)

const (
	defaultStop   = 10 * time.Second
	minMemory     = 4 << 20
	maxArgvAndEnv = 1 << 20 // the kernel takes a quarter of the stack limit, 2 MiB as a rule (execve(2))
)

func (s Spec) hostname() string {
	if s.Hostname != "" {
		return s.Hostname
	}
	return s.Name
}

// check refuses what would be ambiguous or dangerous further down. Every error is ErrFinal.
func (s Spec) check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{ErrFinal}, args...)...)
	}
	if !idPattern.MatchString(s.ID) {
		return bad("jail id %q does not match %s", s.ID, idPattern)
	}
	if !path.IsAbs(s.Root) || path.Clean(s.Root) == "/" {
		return bad("root %q is not an absolute path below /", s.Root)
	}
	if len(s.Argv) == 0 || s.Argv[0] == "" {
		return bad("no command; give the jail a command or its image a CMD")
	}
	if s.WorkDir != "" && !path.IsAbs(s.WorkDir) {
		return bad("working directory %q is not absolute", s.WorkDir)
	}
	if len(s.hostname()) > 63 && !strings.Contains(s.hostname(), ".") || len(s.hostname()) > 64 {
		return bad("hostname %q is longer than 64 bytes", s.hostname())
	}
	for _, m := range s.Mounts {
		if !path.IsAbs(m.Source) || !path.IsAbs(m.Target) || path.Clean(m.Target) == "/" || slices.Contains(strings.Split(m.Target, "/"), "..") {
			return bad("mount of %q at %q: both must be absolute, the target below / and without ..", m.Source, m.Target)
		}
	}
	if err := checkStrings(s.Argv, s.Env); err != nil {
		return bad("%v", err)
	}
	return s.Limits.check(bad)
}

func (l Limits) check(bad func(string, ...any) error) error {
	switch {
	case l.MemoryBytes != 0 && l.MemoryBytes < minMemory:
		return bad("memory limit of %d bytes is below 4 MiB", l.MemoryBytes)
	case l.CPU < 0 || l.CPU > 1024:
		return bad("cpu limit %g is not within 0..1024", l.CPU)
	case l.Processes < 0 || l.OpenFiles < 0:
		return bad("a limit is negative")
	case strings.Trim(l.CPUSet, "0123456789,-") != "":
		return bad("cpuset %q is not a list like 0,2-3", l.CPUSet)
	}
	return nil
}

func checkStrings(argv, env []string) error {
	total := 0
	for _, a := range argv {
		if strings.ContainsRune(a, 0) {
			return fmt.Errorf("argument %q holds a NUL", a)
		}
		total += len(a) + 1
	}
	for _, e := range env {
		if name, _, ok := strings.Cut(e, "="); !ok || name == "" || strings.ContainsRune(e, 0) {
			return fmt.Errorf("environment %q is not NAME=value", e)
		}
		total += len(e) + 1
	}
	if total > maxArgvAndEnv {
		return fmt.Errorf("command and environment are %d bytes, more than %d", total, maxArgvAndEnv)
	}
	return nil
}
