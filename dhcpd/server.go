package dhcpd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// Log is what a Server needs of the cluster.
type Log interface {
	State() *fsm.State
	Propose(ctx context.Context, by string, cmd fsm.Command) (fsm.Applied, error)
}

// Config is what a Server is made from.
type Config struct {
	Network string
	Host    fsm.HostID // whose router this is; it proposes as host/HOST
	Log     Log
	Device  string // of the router on the network's side: guests are told its MTU; "": they are not
	Clock   func() time.Time
	Metrics *Metrics
	Logger  *slog.Logger
}

// The bounds of a Server.
const (
	maxWorkers  = 4
	perClient   = 250 * time.Millisecond // a packet each, in the long run
	clientBurst = 16
	clientSlots = 1 << 16
	perDecline  = 100 * time.Second
	scansEach   = 10 * time.Millisecond // long searches for a free address
	knownEach   = 200 * time.Millisecond
	mtuEach     = 5 * time.Second

	staleDiscover = 300 * time.Millisecond // in the socket's buffer: later ones are answered instead
	staleRequest  = 900 * time.Millisecond
	lateBurst     = 64
	lateEach      = 20 * time.Millisecond
)

// Server answers the guests of one network. The zero value is not usable.
type Server struct {
	c        Config
	offers   *Offers
	clients  *limiter
	declines *limiter
	storm    *limiter // declines of all clients together
	scans    *limiter
	late     *limiter // packets that waited long are answered all the same while there are few: the machine is slow, not flooded
	queue    *queue
	lastCry  atomic.Int64 // when a panic was logged last
	mtu      atomic.Int64 // of Device

	mu      sync.Mutex
	known   *Known
	knownOf *fsm.State
	knownAt time.Time
}

// NewServer starts nothing.
func NewServer(c Config) *Server {
	s := &Server{
		c: c, offers: NewOffers(),
		clients:  newLimiter(clientSlots, clientBurst, perClient),
		declines: newLimiter(1<<10, 3, perDecline),
		storm:    newLimiter(1, 8, fsm.Probation/32), // at most some forty addresses are in probation at a time
		scans:    newLimiter(1, 4, scansEach),
		late:     newLimiter(1, lateBurst, lateEach),
	}
	s.queue = newQueue(s)
	return s
}

// Run answers what comes to conn until ctx ends or conn is closed, and closes
// it. It returns when nothing of it runs any more.
func (s *Server) Run(ctx context.Context, conn *net.UDPConn) error {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // ends the workers' reads
	defer stop()
	var workers, commits sync.WaitGroup
	commits.Go(func() { s.followMTU(ctx, conn) })
	for range committers {
		commits.Go(func() { s.queue.run(ctx) })
	}
	for range min(maxWorkers, runtime.GOMAXPROCS(0)) {
		workers.Go(func() { s.read(ctx, conn) })
	}
	workers.Wait()
	cancel()
	commits.Wait()
	if err := conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("serve DHCP in network %s: %w", s.c.Network, err)
	}
	return nil
}

// followMTU keeps what guests are told in step with the router's interface,
// which changes when networks begin to go on on other hosts.
func (s *Server) followMTU(ctx context.Context, conn *net.UDPConn) {
	for s.c.Device != "" {
		s.mtu.Store(int64(deviceMTU(conn, s.c.Device)))
		if !pause(ctx, mtuEach) {
			return
		}
	}
}

// read answers until ctx ends or conn is closed.
func (s *Server) read(ctx context.Context, conn *net.UDPConn) {
	buf, oob := make([]byte, maxPacket+1), make([]byte, 128)
	for {
		n, oobn, _, _, err := conn.ReadMsgUDPAddrPort(buf, oob)
		switch {
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return
		case err != nil && n == 0:
			// An ICMP error of an earlier reply comes back here: no reason to end.
			s.drop("read error")
			if !pause(ctx, time.Millisecond) {
				return
			}
			continue
		}
		s.handle(conn, buf[:n], ageOf(oob[:oobn]))
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// handle answers one packet that waited for so long. Whatever is in it, the
// server goes on. Under more load than it can bear it finishes exchanges before
// it begins new ones, and says nothing to clients that have given up waiting.
func (s *Server) handle(conn packetWriter, raw []byte, age time.Duration) {
	defer s.survive()
	r, err := Parse(raw)
	if err != nil {
		if errors.Is(err, errNotForUs) { // what another server sends is not ours to read
			s.drop("no request")
		} else {
			s.drop("malformed")
		}
		return
	}
	s.c.Metrics.packets.WithLabelValues(typeName(r.Type)).Inc()
	now := fsm.TimeOf(s.c.Clock())
	if s.tooLate(r, age) && !s.late.allow("", now) {
		s.drop("too late")
		return
	}
	if !s.clients.allow(r.MAC, now) {
		s.drop("client limit")
		return
	}
	v := s.view()
	if v == nil {
		s.drop(whyOff)
		return
	}
	a := Decide(v, r)
	if a.Offered.IsValid() {
		s.offers.put(a.Offered, r.Client, v.Now)
	}
	switch {
	case a.End != nil:
		if a.End.How == fsm.GuestDeclined && !(s.declines.allow(r.MAC, now) && s.storm.allow("", now)) {
			s.drop("decline limit")
			return
		}
		s.enqueue(&pending{end: a.End})
	case a.Lease != nil:
		s.enqueue(&pending{conn: conn, request: r, lease: a.Lease})
	default:
		s.send(conn, a)
	}
}

// tooLate: by the time of an answer the client may have asked again.
func (s *Server) tooLate(r *Request, age time.Duration) bool {
	if r.Type == dhcpv4.MessageTypeDiscover {
		return age > staleDiscover || len(s.queue.waiting) > queueSize/4
	}
	return age > staleRequest
}

func (s *Server) enqueue(p *pending) {
	if !s.queue.put(p) {
		s.drop("busy")
	}
}

// survive ends a panic of one packet.
func (s *Server) survive() {
	p := recover()
	if p == nil {
		return
	}
	s.drop("panic")
	now := s.c.Clock().UnixNano()
	if last := s.lastCry.Load(); now-last > int64(time.Minute) && s.lastCry.CompareAndSwap(last, now) {
		s.c.Logger.Error("a DHCP packet made the program panic: it was dropped", "network", s.c.Network, "panic", p, "stack", string(debug.Stack()))
	}
}

// packetWriter is the half of a *net.UDPConn that replies need.
type packetWriter interface {
	WriteToUDPAddrPort(b []byte, addr netip.AddrPort) (int, error)
}

func (s *Server) send(conn packetWriter, a Answer) {
	if a.Reply == nil {
		s.drop(a.Why)
		return
	}
	if _, err := conn.WriteToUDPAddrPort(a.Reply, a.To); err != nil {
		s.drop("send error") // as if the network had lost it: the client asks again
		return
	}
	s.c.Metrics.replies.WithLabelValues(typeName(a.Type)).Inc()
}

func (s *Server) drop(why string) { s.c.Metrics.dropped.WithLabelValues(why).Inc() }

// typeName bounds the values of a label.
func typeName(t dhcpv4.MessageType) string {
	if t < dhcpv4.MessageTypeDiscover || t > dhcpv4.MessageTypeInform {
		return "other"
	}
	return t.String()
}

// view is the State of now, nil if the network is gone.
func (s *Server) view() *View {
	st := s.c.Log.State()
	n, ok := st.Networks.Get(s.c.Network)
	if !ok {
		return nil
	}
	now := s.c.Clock()
	return &View{
		State: st, Network: n, Host: s.c.Host, MTU: int(s.mtu.Load()), Offers: s.offers,
		// The log's time is the leader's, and what leases end by.
		Now:   max(fsm.TimeOf(now), st.Now),
		Known: s.knownNow(st, n, now),
		Scan:  func() bool { return s.scans.allow("", fsm.TimeOf(now)) },
	}
}

// knownNow looks again at what jails there are, at most some times a second.
func (s *Server) knownNow(st *fsm.State, n *fsm.Network, now time.Time) *Known {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.knownOf; old != nil {
		was, _ := old.Networks.Get(n.Name)
		if was == n && old.Jails.Same(st.Jails) && old.Leases.Same(st.Leases) {
			s.knownOf = st // an older one would be held in memory for as long as nothing changes
			return s.known
		}
		if was == n && now.Sub(s.knownAt) < knownEach && now.After(s.knownAt) {
			return s.known
		}
	}
	s.known, s.knownOf, s.knownAt = NewKnown(st, n), st, now
	return s.known
}
