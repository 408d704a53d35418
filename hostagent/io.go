package hostagent

import (
	"context"
	"errors"
	"fmt"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/jail"
)

// ErrElsewhere says that the jail has no Run on this host.
var ErrElsewhere = errors.New("the jail does not run on this host")

// Exec runs a command in a running jail of this host; see jail.Driver.
func (a *Agent) Exec(ctx context.Context, name fsm.JailName, x jail.Exec) (int, error) {
	j, ok := a.c.Cluster.State().Jails.Get(string(name))
	if !ok {
		return 0, fmt.Errorf("jail %s: %w", name, jail.ErrNotFound)
	}
	w := WantOf(a.c.Cluster.State(), a.c.Host, name, j.UUID)
	if w.Run == nil {
		return 0, fmt.Errorf("jail %s: %w", name, ErrElsewhere)
	}
	var err error
	if w.Start, err = a.startOf(w); err != nil {
		return 0, err
	}
	x.Env = append(environ(w), x.Env...)
	rc, err := a.c.Jails.Exec(ctx, jailID(j.UUID), x)
	if err != nil {
		return 0, fmt.Errorf("exec in jail %s: %w", name, err)
	}
	return rc, nil
}
