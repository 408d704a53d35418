package hostagent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// Fetched is what Config.Fetch has brought here, with an error too.
type Fetched struct {
	Bytes int64    // that came over the line
	From  []string // names of hosts
}

// fetch makes sure that an image is on this host: from another one, where it
// is not. Then the cluster hears that this host can serve it, too.
func (a *Agent) fetch(ctx context.Context, name, key string) error {
	if a.c.Store.HasImage(key) {
		return nil
	}
	if a.c.Fetch == nil {
		return fmt.Errorf("image %s (%.19s) is not on this host: build it with rexctl image build", name, key)
	}
	if err := a.fetchTold(ctx, key); err != nil {
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

// fetchTold fetches, and history tells of it. That it does is no condition: the
// image is needed all the same.
func (a *Agent) fetchTold(ctx context.Context, key string) error {
	begun := time.Now()
	a.tellFetch(ctx, fsm.ReportFetch{Key: key, Host: a.c.Host, State: fsm.FetchBegun})
	got, err := a.c.Fetch(ctx, key)
	end := fsm.ReportFetch{Key: key, Host: a.c.Host, State: fsm.FetchDone, From: got.From, Bytes: got.Bytes, Took: time.Since(begun)}
	if err != nil {
		end.State, end.Error = fsm.FetchFailed, printable(strings.Join(strings.Fields(err.Error()), " "), 1000)
	}
	a.tellFetch(ctx, end)
	return err
}

// tellFetchTime bounds the wait for a leader, who may be away.
const tellFetchTime = 5 * time.Second

func (a *Agent) tellFetch(ctx context.Context, r fsm.ReportFetch) {
	ctx, cancel := context.WithTimeout(ctx, tellFetchTime)
	defer cancel()
	if err := a.propose(ctx, r); err != nil {
		a.c.Log.Info("history does not tell of a fetch", "image", r.Key, "state", string(r.State), "err", err)
	}
}
