package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/rexcarcer/rexcarcer/cluster"
	"github.com/rexcarcer/rexcarcer/cluster/transport"
	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/pki"
)

// Member is what the handler needs of a cluster.Node.
type Member interface {
	ProposeHere(ctx context.Context, e fsm.Entry) (fsm.Applied, error)
	ReadIndexHere(ctx context.Context) (uint64, error)
	Heard(from fsm.HostID, p cluster.Ping) cluster.Pong
}

// answer is the body of every answer.
type answer struct {
	Index   uint64        `json:"index,omitempty"`
	Refusal *fsm.Refusal  `json:"refusal,omitempty"`
	Pong    *cluster.Pong `json:"pong,omitempty"`
	Error   string        `json:"error,omitempty"`
	Leads   bool          `json:"leads"` // false with Error: another one does, or nobody
}

// Abuse is told when a member asked for what is another's, and was refused.
type Abuse func(peer pki.ID, what, why string)

// Handler answers other members. more, if not nil, gets what is not below /rpc/.
func Handler(m Member, more http.Handler, abuse Abuse) http.Handler {
	mux := http.NewServeMux()
	h := &handler{m, abuse}
	mux.HandleFunc("POST /rpc/propose", h.propose)
	mux.HandleFunc("POST /rpc/index", h.index)
	mux.HandleFunc("POST /rpc/ping", h.ping)
	if more != nil {
		mux.Handle("/", more)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := transport.Peer(r.Context()); !ok {
			http.Error(w, "members only", http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

type handler struct {
	m     Member
	abuse Abuse
}

func (h *handler) propose(w http.ResponseWriter, r *http.Request) {
	peer, _ := transport.Peer(r.Context())
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, fsm.MaxEntry))
	if err != nil {
		reply(w, http.StatusBadRequest, answer{Error: err.Error(), Leads: true})
		return
	}
	e, err := fsm.Decode(raw)
	if err != nil {
		reply(w, http.StatusBadRequest, answer{Error: err.Error(), Leads: true})
		return
	}
	if err := errors.Join(MayPropose(peer, e), ownAffair(peer, e)); err != nil {
		h.abuse(peer, e.Cmd.Kind(), err.Error())
		reply(w, http.StatusForbidden, answer{Leads: true, Refusal: &fsm.Refusal{Code: fsm.CodeFenced, Object: e.Cmd.Kind(), Text: err.Error()}})
		return
	}
	applied, err := h.m.ProposeHere(r.Context(), e)
	a := answer{Index: applied.Index, Leads: true}
	if refusal := (*fsm.Refusal)(nil); errors.As(err, &refusal) {
		a.Refusal = refusal
	} else if err != nil {
		a.Error, a.Leads = err.Error(), !errors.Is(err, cluster.ErrNotLeader)
	}
	reply(w, http.StatusOK, a)
}

func (h *handler) index(w http.ResponseWriter, r *http.Request) {
	index, err := h.m.ReadIndexHere(r.Context())
	a := answer{Index: index, Leads: true}
	if err != nil {
		a.Error, a.Leads = err.Error(), !errors.Is(err, cluster.ErrNotLeader)
	}
	reply(w, http.StatusOK, a)
}

func (h *handler) ping(w http.ResponseWriter, r *http.Request) {
	peer, _ := transport.Peer(r.Context())
	var p cluster.Ping
	if err := json.NewDecoder(io.LimitReader(r.Body, 4096)).Decode(&p); err != nil {
		reply(w, http.StatusBadRequest, answer{Error: err.Error()})
		return
	}
	pong := h.m.Heard(fsm.HostID(peer.Name), p)
	reply(w, http.StatusOK, answer{Pong: &pong, Leads: pong.Leading})
}

func reply(w http.ResponseWriter, status int, a answer) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(a) // the peer is gone if this fails
}

// Client implements cluster.Peers over a RoundTripper whose hosts are ids.
type Client struct{ http http.Client }

var _ cluster.Peers = (*Client)(nil)

// NewClient speaks over trip, see transport.Dialer.RoundTripper.
func NewClient(trip http.RoundTripper) *Client {
	return &Client{http.Client{Transport: trip}}
}

// Propose implements cluster.Peers.
func (c *Client) Propose(ctx context.Context, to fsm.HostID, e fsm.Entry) (uint64, error) {
	raw, err := fsm.Encode(e)
	if err != nil {
		return 0, &fsm.Refusal{Code: fsm.CodeInvalid, Object: e.Cmd.Kind(), Text: err.Error()}
	}
	a, err := c.ask(ctx, to, "/rpc/propose", raw)
	if err == nil && a.Refusal != nil {
		err = a.Refusal
	}
	return a.Index, err
}

// ReadIndex implements cluster.Peers.
func (c *Client) ReadIndex(ctx context.Context, to fsm.HostID) (uint64, error) {
	a, err := c.ask(ctx, to, "/rpc/index", nil)
	return a.Index, err
}

// Ping implements cluster.Peers.
func (c *Client) Ping(ctx context.Context, to fsm.HostID, p cluster.Ping) (cluster.Pong, error) {
	b, err := json.Marshal(p)
	if err != nil {
		return cluster.Pong{}, err
	}
	a, err := c.ask(ctx, to, "/rpc/ping", b)
	if err == nil && a.Pong == nil {
		err = fmt.Errorf("host %s answered no ping", to)
	}
	if err != nil {
		return cluster.Pong{}, err
	}
	return *a.Pong, nil
}

// ask sends one request. Every way of not reaching the other is ErrNotLeader:
// the request can be made again, there or elsewhere.
func (c *Client) ask(ctx context.Context, to fsm.HostID, path string, body []byte) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+string(to)+path, bytes.NewReader(body))
	if err != nil {
		return answer{}, fmt.Errorf("ask host %s: %w", to, err)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return answer{}, errors.Join(cluster.ErrNotLeader, fmt.Errorf("ask host %s: %w", to, err))
	}
	defer res.Body.Close()
	var a answer
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&a); err != nil {
		return answer{}, errors.Join(cluster.ErrNotLeader, fmt.Errorf("ask host %s: read the answer (%s): %w", to, res.Status, err))
	}
	switch {
	case a.Error != "" && !a.Leads:
		return a, errors.Join(cluster.ErrNotLeader, fmt.Errorf("host %s: %s", to, a.Error))
	case a.Error != "":
		return a, fmt.Errorf("host %s: %s", to, a.Error)
	}
	return a, nil
}

// Identify reads who a request of another member speaks for: the member
// itself, or, if it is a server, whoever it says. It is for the API that one
// member carries to another.
func Identify(r *http.Request) (peer pki.ID, by, role string, err error) {
	peer, ok := transport.Peer(r.Context())
	if !ok {
		return peer, "", "", errors.New("no certificate of a member")
	}
	by, role = r.Header.Get(HeaderBy), r.Header.Get(HeaderRole)
	if by == "" {
		return peer, "host/" + peer.Name, string(peer.Role), nil
	}
	if peer.Role != pki.RoleServer {
		return peer, "", "", fmt.Errorf("%s may ask as itself only", peer)
	}
	return peer, by, role, nil
}

// The headers in which a server says for whom it asks.
const (
	HeaderBy   = "Rex-By"
	HeaderRole = "Rex-Role"
)
