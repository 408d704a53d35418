package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/rexcarcer/rexcarcer/zfssync"
)

// Client brings to a Store what other hosts have.
type Client struct {
	store   Store
	limit   *rate.Limiter
	stall   time.Duration
	tries   int
	zstd    bool
	delta   bool
	spool   string
	work    string
	slots   chan struct{}
	tell    func(Progress)
	scores  *scores
	board   *Board
	ahead   int64 // bytes, see lookAhead
	metrics *Metrics
	log     *slog.Logger
	busy    turns
}

// Config says what a Client is made of.
type Config struct {
	Store Store

	MaxStreams     int           // at once, 0 is 2; more wait
	BytesPerSecond int64         // of all streams together, 0 is no limit; at least 64 KiB are granted
	Stall          time.Duration // a source from which nothing comes for so long is left, 0 is 15 s
	Tries          int           // of each source in a row without a frame, 0 is 3
	Compress       bool          // zstd on the wire: for slow lines

	// Spool is a directory for streams on their way, where the store cannot keep what came (Features.Resume): after a kill
	// the next call goes on. It costs writing everything twice; "" does without, and only a cut line is gone on from.
	Spool string
	// Delta fetches only chunks that no similar object here has, where the format knows no difference between two
	// snapshots (tar). It costs reading both on their hosts, and a copy of the similar one in Work: for slow lines.
	Delta bool
	Work  string // a directory, "" is the system's for temporary files

	Progress func(Progress)   // called from time to time, by many goroutines; may be nil
	Board    *Board           // of the host, where streams stand that run; nil is one of its own
	Metrics  *Metrics         // may be nil
	Log      *slog.Logger     // nil discards
	Clock    func() time.Time // for scores; nil is time.Now
}

// NewClient returns a Client. It starts nothing.
func NewClient(c Config) (*Client, error) {
	k := &Client{
		store: c.Store, limit: newLimiter(c.BytesPerSecond), stall: c.Stall, tries: c.Tries, zstd: c.Compress, delta: c.Delta, spool: c.Spool, work: c.Work,
		tell: c.Progress, metrics: c.Metrics, log: c.Log, ahead: aheadBytes, busy: turns{m: map[string]*turn{}},
	}
	if k.board = c.Board; k.board == nil {
		k.board = NewBoard()
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	k.scores = newScores(c.Clock)
	if k.stall <= 0 {
		k.stall = 15 * time.Second
	}
	if k.tries <= 0 {
		k.tries = 3
	}
	if k.log == nil {
		k.log = slog.New(slog.DiscardHandler)
	}
	if k.metrics == nil {
		k.metrics = NewMetrics(nil)
	}
	if c.MaxStreams <= 0 {
		c.MaxStreams = 2
	}
	k.slots = make(chan struct{}, c.MaxStreams)
	for _, dir := range []string{c.Spool, c.Work} {
		if dir == "" {
			continue
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make directory for transfers: %w", err)
		}
	}
	return k, nil
}

func (c *Client) blame(src Source, fault string, err error) {
	c.scores.blame(src.Name, fault)
	c.metrics.faults.WithLabelValues(fault).Inc()
	c.log.Warn("source did not serve", "source", src.Name, "fault", fault, "err", err)
}

// ErrNowhere is in the error when no source has what is wanted.
var ErrNowhere = errors.New("no host that can be reached has it")

// slot waits until one more stream may come.
func (c *Client) slot(ctx context.Context) (release func(), err error) {
	select {
	case c.slots <- struct{}{}:
		return func() { <-c.slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// step receives one stream, from whichever source can give it.
func (c *Client) step(ctx context.Context, s Step, o ObjectOptions, sources []Source, came *tally) (err error) {
	release, err := c.slot(ctx)
	if err != nil {
		return err
	}
	defer release()
	begun := time.Now()
	defer c.metrics.stream("in", begun, &err)()
	for left := len(sources); left > 0; left-- { // each lie or loss of all costs one
		if err = c.receive(ctx, s, o, sources, came); err == nil {
			c.log.Info("received", "what", s.String(), "took", time.Since(begun).Round(time.Millisecond))
			return nil
		}
		if !errors.Is(err, errRestart) || ctx.Err() != nil {
			break
		}
		if aerr := c.store.AbortReceive(ctx, s.Snapshot.Object); aerr != nil {
			return fmt.Errorf("give up half of %s: %w", s.Snapshot.Object, aerr)
		}
	}
	return fmt.Errorf("receive %s: %w", s, err)
}

// receive does one Receive of the store.
func (c *Client) receive(ctx context.Context, s Step, o ObjectOptions, sources []Source, came *tally) error {
	snap := s.Snapshot
	token, err := c.store.ResumeToken(ctx, snap.Object, snap.GUID)
	if err != nil {
		return err
	}
	q := c.query(s)
	if token != "" {
		q.Set("resume", token)
	}
	opt := c.options(s, o)
	take := func(ctx context.Context, r io.Reader) error { return c.store.Receive(ctx, snap.Object, opt, r) }
	tell := newTeller(c.tell, s)
	tell.came = came
	defer c.board.add(tell.entry)()
	if token == "" && !opt.Resumable {
		done, err := c.byChunks(ctx, s, sources, tell, take)
		if done || ctx.Err() != nil {
			return err
		}
		if c.spool != "" {
			return c.spooled(ctx, q, sources, tell, take)
		}
	}
	p := c.pull(q, sources, tell)
	err = p.feedTo(ctx, take)
	if r, ok := errors.AsType[*RemoteError](err); ok && token != "" && r.Code == CodeFailed && p.roll.frames == 0 {
		return errors.Join(errRestart, err) // the snapshot that the token means may be gone there
	}
	return err
}

// query names a step's stream.
func (c *Client) query(s Step) url.Values {
	q := queryOf(s.Snapshot.Object)
	q.Set("guid", s.Snapshot.GUID)
	q.Set("from", s.From)
	return q
}

// options of the store's Receive for a step.
func (c *Client) options(s Step, o ObjectOptions) zfssync.ReceiveOptions {
	snap := s.Snapshot
	return zfssync.ReceiveOptions{
		Format: snap.Format, Snapshot: snap.Name, GUID: snap.GUID, From: s.From, Layer: snap.Layer, Image: snap.Image, Base: snap.Base,
		QuotaBytes: o.QuotaBytes, Options: o.Clone, Resumable: c.store.Features().Resume, Devices: snap.Object.Kind != zfssync.KindLayer || o.Devices,
		Progress: func(line string) { c.log.Info("receive", "object", snap.Object.String(), "note", line) },
	}
}

// turns lets one caller at a time do a thing; the others wait and then find it done.
type turns struct {
	mu sync.Mutex // guards m
	m  map[string]*turn
}

type turn struct {
	token chan struct{} // of size 1: full while somebody has the turn
	refs  int
}

// take waits for the turn.
func (t *turns) take(ctx context.Context, name string) (release func(), err error) {
	t.mu.Lock()
	x := t.m[name]
	if x == nil {
		x = &turn{token: make(chan struct{}, 1)}
		t.m[name] = x
	}
	x.refs++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if x.refs--; x.refs == 0 {
			delete(t.m, name)
		}
	}
	select {
	case x.token <- struct{}{}:
		return func() { <-x.token; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
