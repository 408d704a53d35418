package hostagent

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

// Directories of the host in jails: what a wish asks for is decided by the
// host, because who may write a wish need not be who owns the host's files.

// bindAllowed says why source may not be bound into a jail here, and returns
// the directory that it is behind all links: what is bound is what was checked.
func bindAllowed(allowed []string, source string) (string, error) {
	dir, err := filepath.EvalSymlinks(source)
	if err != nil {
		return "", fmt.Errorf("directory of the host: %w", err)
	}
	for _, top := range allowed {
		if top, err = filepath.EvalSymlinks(top); err != nil {
			continue // it is not there: it allows nothing
		}
		if dir == top || top == "/" || strings.HasPrefix(dir, top+"/") {
			return dir, nil
		}
	}
	return "", bindRefused(source)
}

func bindRefused(source string) error {
	return fmt.Errorf("this host does not let jails have its directory %s: start rexcarcer with -bind-allow %s", source, source)
}

// checkBinds refuses a wish that a cluster of this one host cannot keep. Where
// there are more hosts, the one that a jail comes to decides.
func (a *Agent) checkBinds(s *fsm.State, w *spec.Wish) error {
	if s.Hosts.Len() > 1 || a.features.Simulated {
		return nil
	}
	for _, j := range w.Jails {
		for _, v := range j.Volumes {
			if v.Source == "" {
				continue
			}
			if _, err := bindAllowed(a.c.BindAllow, v.Source); err != nil {
				return &fsm.Refusal{Code: fsm.CodeInvalid, Object: "volume " + v.Name + " of jail " + j.Name, Text: err.Error()}
			}
		}
	}
	return nil
}

// bindSource is bindAllowed for a jail that starts. What a simulated jail has
// is never touched.
func (a *Agent) bindSource(source string) (string, error) {
	if a.features.Simulated {
		return source, nil
	}
	return bindAllowed(a.c.BindAllow, source)
}
