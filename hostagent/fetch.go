package hostagent

import (
	"context"
	"errors"
	"fmt"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// fetch makes sure that an image is on this host: from another one, where it
// is not. Then the cluster hears that this host can serve it, too.
func (a *Agent) fetch(ctx context.Context, name, key string) error {
	if a.c.Store.HasImage(key) {
		return nil
	}
	if a.c.Fetch == nil {
		return fmt.Errorf("image %s (%.19s) is not on this host: build it with rexctl image build", name, key)
	}
	if err := a.c.Fetch(ctx, key); err != nil {
		return fmt.Errorf("image %s (%.19s) is not on this host, and cannot be fetched: %w: build it here with rexctl image build", name, key, err)
	}
	img, err := a.c.Store.Image(key)
	if err != nil {
		return fmt.Errorf("image %s after it was fetched: %w", name, err)
	}
	err = a.propose(ctx, fsm.ReportBuild{Key: key, Host: a.c.Host, Bytes: img.Bytes})
	if refusal := (*fsm.Refusal)(nil); err != nil && !errors.As(err, &refusal) { // a refusal does not make it less here
		return fmt.Errorf("tell the cluster that image %.19s is here: %w", key, err)
	}
	return nil
}
