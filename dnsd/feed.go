package dnsd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/internal/seqpacket"
)

// Times of a feed.
const (
	feedHello  = 5 * time.Second  // for a client to say what it wants
	feedWrite  = 10 * time.Second // for a router to take a message
	serialEach = time.Second      // serial messages are for people with dig, not urgent
	maxFeeds   = 64               // connections to one socket
)

// ServeFeed sends network's Table to everyone who connects to listener and
// may (allow, by the peer's uid on this host), and again after each change,
// until ctx ends. It closes listener.
func ServeFeed(ctx context.Context, listener *net.UnixListener, states States, network string, allow func(uid uint32) bool, logger *slog.Logger) error {
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	defer listener.Close() // at the latest
	slots := make(chan struct{}, maxFeeds)
	var feeds sync.WaitGroup
	defer feeds.Wait()
	for {
		conn, err := listener.AcceptUnix()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("serve network %s to its router: %w", network, err)
		}
		select {
		case slots <- struct{}{}:
		default:
			conn.Close() // a client that opens so many is broken
			continue
		}
		feeds.Go(func() {
			defer func() { <-slots }()
			f := feed{conn: conn, states: states, network: network}
			if err := f.serve(ctx, allow); err != nil && ctx.Err() == nil && !errors.Is(err, io.EOF) {
				logger.Warn("router connection ended", "network", network, "err", err)
			}
		})
	}
}

// ListenFeed makes the socket at path, which replaces one that a killed
// predecessor left. mode is its permission; its directory is made as well.
func ListenFeed(path string, mode os.FileMode) (*net.UnixListener, error) {
	if err := removeSocket(path); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	listener, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	if err := os.Chmod(path, mode); err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: %w", path, err), listener.Close())
	}
	return listener, nil
}

// feed is one connection.
type feed struct {
	conn    *net.UnixConn
	states  States
	network string
	sets    bool // the client takes changed sets; if not, every change is a whole Table

	state  *fsm.State // that was sent last
	view   view       // of it
	serial uint32     // that was sent last
	gen    uint64

	serialAt time.Time // when a serial was last sent, alone or with something
}

// serve checks who is there, waits for what it wants and follows the States.
func (f *feed) serve(ctx context.Context, allow func(uid uint32) bool) error {
	defer f.conn.Close() // whatever was to be sent has been
	uid, err := seqpacket.PeerUID(f.conn)
	if err != nil {
		return fmt.Errorf("look up the peer: %w", err)
	}
	if err := seqpacket.MakeRoom(f.conn, feedLimit); err != nil {
		return fmt.Errorf("make room for messages: %w", err)
	}
	hello, err := f.hello() // read in any case: closing on unread data would lose the refusal
	if err != nil {
		return err
	}
	if !allow(uid) {
		f.refuse("uid %d may not ask here", uid)
		return fmt.Errorf("uid %d may not follow the zone", uid)
	}
	var m feedMessage
	if err := json.Unmarshal(hello, &m); err != nil || m.V != feedVersion || m.Type != typeFollow {
		f.refuse("want {\"v\":%d,\"type\":%q}", feedVersion, typeFollow)
		return fmt.Errorf("first message is no %s of version %d (%d bytes)", typeFollow, feedVersion, len(hello))
	}
	f.sets = m.TakesSets
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { f.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	var reader sync.WaitGroup
	defer reader.Wait()
	defer cancel()
	reader.Go(func() { // the router says nothing more: a read ends when it is gone
		defer cancel()
		_, _ = f.conn.Read(make([]byte, 1))
	})
	return f.follow(ctx)
}

// hello reads the first message.
func (f *feed) hello() ([]byte, error) {
	if err := f.conn.SetReadDeadline(time.Now().Add(feedHello)); err != nil {
		return nil, err
	}
	buf := make([]byte, feedLimit)
	n, err := f.conn.Read(buf)
	if err != nil {
		return nil, err
	}
	return buf[:n], f.conn.SetReadDeadline(time.Time{})
}

// refuse tells the client why, as far as it still listens.
func (f *feed) refuse(format string, args ...any) {
	_ = f.send(feedMessage{V: feedVersion, Type: typeError, Text: fmt.Sprintf(format, args...)})
}

// follow sends what changes until ctx ends.
func (f *feed) follow(ctx context.Context) error {
	for {
		changed := f.states.Watch()
		began := time.Now()
		late, err := f.update(f.states.State(), began)
		if err != nil {
			if ctx.Err() != nil {
				return nil //nolint:nilerr // the end was wanted, whatever it interrupted
			}
			return err
		}
		if !pause(ctx, time.Since(began)) {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-late:
		}
	}
}

// update sends what s has other than was sent. If that is only its serial, it
// is sent at most once in serialEach; late then says when.
func (f *feed) update(s *fsm.State, now time.Time) (late <-chan time.Time, err error) {
	before := f.state
	f.state = s
	if before == nil || before.Cluster.Domain != s.Cluster.Domain || !before.Networks.Same(s.Networks) {
		v := viewOf(s, f.network)
		if before == nil || !v.equal(&f.view) {
			f.view = v
			return nil, f.sendTable(s, now)
		}
	}
	if sets := f.view.changed(before, s); len(sets) > 0 {
		return nil, f.sendSets(s, sets, now)
	}
	serial := uint32(s.Index)
	if f.serial == serial {
		return nil, nil
	}
	if rest := serialEach - now.Sub(f.serialAt); rest > 0 {
		return time.After(rest), nil
	}
	f.serialAt, f.serial = now, serial
	return nil, f.send(feedMessage{V: feedVersion, Type: typeSerial, Gen: f.gen, Serial: serial})
}

// sendTable sends all of s that the network sees.
func (f *feed) sendTable(s *fsm.State, now time.Time) error {
	f.gen++
	table := f.view.table(s)
	messages, err := encodeTable(&table, f.gen)
	if err != nil {
		return err
	}
	f.serialAt, f.serial = now, table.Serial
	return f.writeAll(messages)
}

// sendSets sends what changed with s, or everything where that is simpler.
func (f *feed) sendSets(s *fsm.State, sets []Set, now time.Time) error {
	messages, err := encodeSets(sets, f.gen, uint32(s.Index))
	if err != nil {
		return err
	}
	if !f.sets || messages == nil {
		return f.sendTable(s, now)
	}
	f.serialAt, f.serial = now, uint32(s.Index)
	return f.writeAll(messages)
}

func (f *feed) writeAll(messages [][]byte) error {
	for _, m := range messages {
		if err := f.write(m); err != nil {
			return err
		}
	}
	return nil
}

func (f *feed) send(m feedMessage) error {
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return f.write(data)
}

func (f *feed) write(message []byte) error {
	if err := f.conn.SetWriteDeadline(time.Now().Add(feedWrite)); err != nil {
		return err
	}
	return seqpacket.Write(f.conn, message)
}
