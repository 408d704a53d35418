package dnsd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/seqpacket"
)

// Times between attempts to reach the daemon.
const (
	followFirst = 50 * time.Millisecond
	followMax   = 2 * time.Second
)

// Follow connects to the daemon's socket at path, hands each whole zone to
// onZone, and connects again when the daemon goes away, until ctx ends. What
// onZone got last is what is served meanwhile.
func Follow(ctx context.Context, path string, onZone func(*Zone), logger *slog.Logger) error {
	wait := followFirst
	for {
		zones, err := followOnce(ctx, path, onZone)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the end was wanted, whatever it interrupted
		}
		if zones > 0 {
			wait = followFirst
		}
		if wait == followFirst {
			logger.Warn("no word from the daemon, the last zone is kept", "socket", path, "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		wait = min(2*wait, followMax)
	}
}

// followOnce follows over one connection and tells how many zones came.
func followOnce(ctx context.Context, path string, onZone func(*Zone)) (zones int, err error) {
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return 0, err
	}
	defer conn.Close() // nothing is left to be written
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	hello, err := json.Marshal(feedMessage{V: feedVersion, Type: typeFollow, TakesSets: true})
	if err != nil {
		return 0, err
	}
	if err := errors.Join(seqpacket.MakeRoom(conn, feedLimit), seqpacket.Write(conn, hello)); err != nil {
		return 0, err
	}
	a := arrival{onZone: onZone}
	in := readMessages(conn)
	for {
		var m feedMessage
		if err := in.Decode(&m); err != nil {
			return a.zones, err
		}
		if m.V != feedVersion {
			return a.zones, fmt.Errorf("the daemon speaks version %d, this program %d", m.V, feedVersion)
		}
		if err := a.take(&m); err != nil {
			return a.zones, err
		}
	}
}

// arrival is what came over one connection.
type arrival struct {
	onZone func(*Zone)
	parts  assembly
	sets   setParts
	zone   *Zone // the last one
	zones  int   // whole Tables
}

func (a *arrival) take(m *feedMessage) error {
	switch m.Type {
	case typeError:
		return errors.New(m.Text)
	case typeSerial:
		if a.zone != nil && m.Gen == a.parts.gen {
			a.publish(a.zone.WithSerial(m.Serial))
		}
	case typeSets:
		if a.zone == nil || m.Gen != a.parts.gen {
			return errors.New("changes came without what they change")
		}
		whole, err := a.sets.add(m)
		if err != nil {
			return err
		}
		if whole {
			a.publish(a.zone.With(m.Serial, a.sets.sets))
			a.sets = setParts{}
		}
	case typeZone:
		whole, err := a.parts.add(m)
		if err != nil {
			return err
		}
		if whole {
			a.zones++
			a.publish(NewZone(&a.parts.table))
			a.parts.table.Records = nil // packed: not needed twice
		}
	}
	return nil
}

func (a *arrival) publish(z *Zone) {
	a.zone = z
	a.onZone(z)
}

// removeSocket clears the way for a socket at path and makes its directory.
// Anything else than a socket stays, and is an error.
func removeSocket(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("something that is no socket is there: remove it")
	}
	return os.Remove(path)
}
