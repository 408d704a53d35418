package hostagent

import (
	"context"
	"errors"
	"fmt"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/jail"
)

// Usage is what the running jails of this host use now, by name.
func (a *Agent) Usage(ctx context.Context) (map[fsm.JailName]jail.Stats, error) {
	s := a.c.Cluster.State()
	out := map[fsm.JailName]jail.Stats{}
	for _, r := range s.RunsOn(a.c.Host) {
		j, ok := s.Jails.Get(string(r.Jail))
		if !ok || r.Phase != fsm.Running {
			continue
		}
		st, err := a.c.Jails.Stats(ctx, jailID(j.UUID))
		switch {
		case errors.Is(err, jail.ErrNotFound), errors.Is(err, jail.ErrNotRunning): // it has just ended
		case err != nil:
			return nil, fmt.Errorf("usage of jail %s: %w", r.Jail, err)
		default:
			out[r.Jail] = st
		}
	}
	return out, nil
}
