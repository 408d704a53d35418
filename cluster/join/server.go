package join

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
)

// Kept is what the cluster knows of a token.
type Kept struct {
	Hash   []byte // of the secret
	Role   string
	Ended  string // why it admits nobody, "" if it does
	UsedBy []string
}

// Cluster is what a server asks of its cluster.
type Cluster interface {
	// Token finds a token by its id.
	Token(id string) (Kept, bool)
	// Admit makes the host known. An error that is ErrRefused is about the
	// token; any other may be told to the host.
	Admit(ctx context.Context, r Request) error
	// Issue signs the host's certificate.
	Issue(r Request) (Answer, error)
	// Refused records that somebody who knew a token's id was sent away.
	Refused(ctx context.Context, token, from, why string)
}

// ErrRefused is the one answer to every token that is not good, for whatever
// reason.
var ErrRefused = errors.New("the token is not accepted here: it may be unknown, expired, used, revoked or for another role; ask for a new one with `rexctl token create`")

// The tries that are allowed, for one address and for all.
const (
	perSource, burstSource = rate.Limit(1), 10
	perServer, burstServer = rate.Limit(50), 100
	maxSources             = 4096
)

// Handler answers Do. Make it with NewHandler.
type Handler struct {
	cluster Cluster
	log     *slog.Logger
	tries   *prometheus.CounterVec

	all     *rate.Limiter
	records sync.WaitGroup // refusals that are being recorded

	mu      sync.Mutex
	sources map[string]*rate.Limiter // guarded by mu
}

// NewHandler answers for c. reg may be nil.
func NewHandler(c Cluster, log *slog.Logger, reg prometheus.Registerer) *Handler {
	h := &Handler{cluster: c, log: log, all: rate.NewLimiter(perServer, burstServer), sources: map[string]*rate.Limiter{},
		tries: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "rexcarcer_join_tries_total",
			Help: "Requests to join at this host, by result."}, []string{"result"})}
	if reg != nil {
		reg.MustRegister(h.tries)
	}
	return h
}

// allowed counts one try of from.
func (h *Handler) allowed(from string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.sources[from]
	if l == nil {
		if len(h.sources) >= maxSources {
			clear(h.sources) // the limit for all holds; an address gains one burst
		}
		l = rate.NewLimiter(perSource, burstSource)
		h.sources[from] = l
	}
	return l.Allow() && h.all.Allow()
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, hr *http.Request) {
	from := hr.RemoteAddr
	if host, _, err := net.SplitHostPort(from); err == nil {
		from = host
	}
	if hr.Method != http.MethodPost || hr.URL.Path != "/join" {
		http.NotFound(w, hr)
		return
	}
	if !h.allowed(from) {
		h.fail(w, http.StatusTooManyRequests, "limited", errors.New("too many tries from there: wait a minute"))
		return
	}
	var r Request
	if err := json.NewDecoder(http.MaxBytesReader(w, hr.Body, limit)).Decode(&r); err != nil {
		h.fail(w, http.StatusBadRequest, "malformed", errors.New("this is no request to join"))
		return
	}
	a, err := h.admit(hr.Context(), r, from)
	switch {
	case errors.Is(err, ErrRefused):
		h.log.Warn("refused to let a host join", "from", from, "token", clip(r.Token), "name", clip(r.Name))
		h.fail(w, http.StatusForbidden, "refused", ErrRefused)
	case err != nil:
		h.log.Warn("a host with a good token could not join", "from", from, "token", r.Token, "err", err)
		h.fail(w, http.StatusConflict, "error", err)
	default:
		h.log.Info("a host has joined", "host", r.Host, "name", r.Name, "role", a.Role, "token", r.Token)
		h.tries.WithLabelValues("ok").Inc()
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(a) // the host asks again if this fails
	}
}

func clip(s string) string { return s[:min(len(s), 64)] }

func (h *Handler) fail(w http.ResponseWriter, status int, result string, err error) {
	h.tries.WithLabelValues(result).Inc()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(failure{err.Error()}) // the peer is gone if this fails
}

// admit checks the token first, in constant time, and everything else after.
func (h *Handler) admit(ctx context.Context, r Request, from string) (Answer, error) {
	kept, known := h.cluster.Token(r.Token)
	want := kept.Hash
	if len(want) != sha256.Size {
		want, known = make([]byte, sha256.Size), false
	}
	got := sha256.Sum256([]byte(r.Secret))
	right := subtle.ConstantTimeCompare(got[:], want) == 1
	why := ""
	switch {
	case !known:
		return Answer{}, ErrRefused
	case !right:
		why = "the secret is wrong"
	case kept.Ended != "" && !slices.Contains(kept.UsedBy, r.Host): // it may ask again for its answer
		why = kept.Ended
	case r.Role != "" && r.Role != kept.Role:
		why = "it is for the role " + kept.Role + ", not for " + clip(r.Role)
	}
	if why == "" {
		r.Role = kept.Role
		err := h.cluster.Admit(ctx, r)
		if err == nil {
			return h.cluster.Issue(r)
		}
		if !errors.Is(err, ErrRefused) {
			return Answer{}, err
		}
		why = err.Error()
	}
	// The record must not tell by its time whether the secret was right.
	record, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	h.records.Go(func() {
		defer cancel()
		h.cluster.Refused(record, r.Token, from, why)
	})
	return Answer{}, ErrRefused
}

// Wait returns when all refusals are recorded. Nobody may be served any more.
func (h *Handler) Wait() { h.records.Wait() }
