package main

import (
	"context"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/cluster"
	"github.com/rexcarcer/rexcarcer/cluster/join"
	"github.com/rexcarcer/rexcarcer/fsm"
)

// readTime bounds how long a consistent read looks for the leader.
const readTime = 5 * time.Second

// unavailable tells a user in the API's words that nobody leads.
func unavailable(err error) error {
	if !errors.Is(err, cluster.ErrNotLeader) {
		return err
	}
	return &api.Error{
		Status: http.StatusServiceUnavailable, Code: "unavailable", Message: "no leader, so nothing was changed: " + err.Error(),
		Hint: "wait until more servers answer (rexctl host ls); jails and DNS go on meanwhile",
	}
}

// apiReads is how new this host's State is, as the API sees it.
type apiReads struct{ d *daemon }

// Consistent implements api.Reads.
func (r apiReads) Consistent(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	if _, err := r.d.node.WaitConsistent(ctx); err != nil {
		var known *api.Error
		if err = unavailable(err); errors.As(err, &known) {
			known.Message = "no consistent read: " + known.Message
		}
		return err
	}
	return nil
}

// LastContact implements api.Reads.
func (r apiReads) LastContact() (time.Time, bool) {
	leads, _ := r.d.node.Leader()
	return r.d.node.LastContact(), leads
}

// newToken is the API's way to join.NewToken, nil where nobody can join.
func (d *daemon) newToken() api.NewToken {
	if d.peers == nil {
		return nil
	}
	return func(*fsm.State) (string, string, []byte, error) {
		ca, _ := pem.Decode(d.m.ring.PEM())
		if ca == nil {
			return "", "", nil, fmt.Errorf("make a token: the cluster's CA is not PEM")
		}
		t, err := join.NewToken(ca.Bytes, rand.Reader)
		return t.String(), t.ID, t.Hash(), err
	}
}

// live is what is known of hosts beside the State.
func (d *daemon) live() map[fsm.HostID]api.HostLive {
	out := map[fsm.HostID]api.HostLive{}
	for id := range d.node.Voters() {
		out[id] = api.HostLive{Voter: true}
	}
	for id, applied := range d.node.Applied() {
		out[id] = api.HostLive{Voter: out[id].Voter, AppliedIndex: applied}
	}
	if id := d.node.LeaderID(); id != "" {
		l := out[id]
		l.Leader = true
		out[id] = l
	}
	return out
}
