package dhcpd

import (
	"context"
	"errors"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// How leases are committed together.
const (
	committers = 2    // one entry is applied and answered while the next is written
	queueSize  = 4096 // requests that wait
	batchSize  = 512
	commitTime = 5 * time.Second // clients ask again sooner
)

// pending is what waits for the log.
type pending struct {
	conn    packetWriter
	request *Request
	lease   *fsm.GuestAsk
	end     *fsm.GuestEnd
}

// queue turns what waits into entries: all that has come while an entry was
// being written goes into the next.
type queue struct {
	s       *Server
	waiting chan *pending
}

func newQueue(s *Server) *queue { return &queue{s: s, waiting: make(chan *pending, queueSize)} }

func (q *queue) put(p *pending) bool {
	select {
	case q.waiting <- p:
		return true
	default:
		return false
	}
}

func (q *queue) run(ctx context.Context) {
	for {
		var batch []*pending
		select {
		case p := <-q.waiting:
			batch = append(batch, p)
		case <-ctx.Done():
			return
		}
	more:
		for len(batch) < batchSize {
			select {
			case p := <-q.waiting:
				batch = append(batch, p)
			default:
				break more
			}
		}
		q.commit(ctx, batch)
	}
}

func (q *queue) commit(ctx context.Context, batch []*pending) {
	s := q.s
	defer s.survive()
	lease := fsm.LeaseGuests{Network: s.c.Network, Host: s.c.Host}
	end := fsm.EndGuests{Network: s.c.Network, Host: s.c.Host}
	for _, p := range batch {
		if p.lease != nil {
			lease.Guests = append(lease.Guests, *p.lease)
		} else {
			end.Ends = append(end.Ends, *p.end)
		}
	}
	if len(end.Ends) > 0 {
		q.propose(ctx, end, len(end.Ends))
	}
	if len(lease.Guests) == 0 || !q.propose(ctx, lease, len(lease.Guests)) {
		return
	}
	v := s.view()
	if v != nil {
		v.Now = v.State.Now // that of the entry, by which leases end
	}
	for _, p := range batch {
		if p.lease != nil {
			q.answer(v, p)
		}
	}
}

func (q *queue) answer(v *View, p *pending) {
	defer q.s.survive()
	if v == nil {
		q.s.drop(whyOff)
		return
	}
	q.s.send(p.conn, Confirm(v, p.request, p.lease))
}

// propose reports whether the entry is in the log. If not, nobody gets an
// answer: clients ask again, and go on with what they have until then.
func (q *queue) propose(ctx context.Context, cmd fsm.Command, n int) bool {
	s := q.s
	ctx, cancel := context.WithTimeout(ctx, commitTime)
	defer cancel()
	begun := time.Now()
	_, err := s.c.Log.Propose(ctx, "host/"+string(s.c.Host), cmd)
	s.c.Metrics.commit.Observe(time.Since(begun).Seconds())
	s.c.Metrics.batch.Observe(float64(n))
	if err == nil {
		return true
	}
	s.c.Metrics.dropped.WithLabelValues("not committed").Add(float64(n))
	if refusal := (*fsm.Refusal)(nil); !errors.As(err, &refusal) && ctx.Err() == nil {
		s.c.Logger.Warn("cannot commit leases of guests", "network", s.c.Network, "leases", n, "err", err)
	}
	return false
}
