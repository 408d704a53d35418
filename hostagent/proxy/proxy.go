package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/renameio/v2"
)

// Proxy is the haproxy of one network. One goroutine at a time.
type Proxy struct {
	dir      string // where the sockets and the file are, seen from the host
	leaving  map[place]time.Time
	asked    string // structure for which a reload was asked last
	reloaded time.Time
}

// New returns the proxy whose files are in dir.
func New(dir string) *Proxy { return &Proxy{dir: dir, leaving: map[place]time.Time{}} }

const (
	askTimeout  = 5 * time.Second
	reloadPause = 2 * time.Second // until a reload is asked for again

	// LookAgain is what Converge returns when something takes effect a moment later.
	LookAgain = 200 * time.Millisecond
)

// Write makes the file that of c, for haproxy's next start.
func (p *Proxy) Write(c Config) error {
	path, text := filepath.Join(p.dir, File), []byte(c.clone().Text())
	if old, err := os.ReadFile(path); err == nil && slices.Equal(old, text) {
		return nil
	}
	if err := renameio.WriteFile(path, text, 0o644); err != nil {
		return fmt.Errorf("write the file of haproxy: %w", err)
	}
	return nil
}

// Converge makes what runs as c wants it. again is in how long there is something to do, 0 if never.
func (p *Proxy) Converge(ctx context.Context, c Config, now time.Time) (again time.Duration, err error) {
	c = c.clone()
	if err := p.Write(c); err != nil {
		return 0, err
	}
	info, err := p.Ask(ctx, Admin, "show info")
	if err != nil {
		return 0, err
	}
	if want := c.structure(); !strings.Contains(info, "description: "+want+"\n") {
		return LookAgain, p.reload(ctx, want, now)
	}
	text, err := p.Ask(ctx, Admin, "show servers state")
	if err != nil {
		return 0, err
	}
	have, err := parseServers(text)
	if err != nil {
		return 0, err
	}
	leaving := map[place]time.Time{}
	for _, port := range c.Ports {
		plan, short := steps(port, have)
		if short { // places that drain are in the way; they are free soon
			again = LookAgain
		}
		for _, s := range plan {
			if s.command != "" {
				if err := p.command(ctx, s.command); err != nil {
					return 0, err
				}
			}
			if s.drain != (place{}) && port.Drain > 0 {
				wait, err := p.drain(ctx, leaving, s.drain, port.Drain, now)
				if err != nil {
					return 0, err
				}
				again = soonest(again, wait)
			}
		}
	}
	p.leaving = leaving
	return again, nil
}

// drain empties a place: at once when it has no request any more, with its connections cut after that time.
func (p *Proxy) drain(ctx context.Context, leaving map[place]time.Time, x place, after time.Duration, now time.Time) (time.Duration, error) {
	at, known := p.leaving[x]
	if !known {
		at = now.Add(after)
	}
	if left := at.Sub(now); left > 0 {
		leaving[x] = at
		return left, nil
	}
	id := x.backend + "/" + x.name
	return 0, errors.Join(p.command(ctx, "shutdown sessions server "+id), p.command(ctx, "set server "+id+" state maint"))
}

func (p *Proxy) reload(ctx context.Context, want string, now time.Time) error {
	if p.asked == want && now.Sub(p.reloaded) < reloadPause {
		return nil
	}
	p.asked, p.reloaded = want, now
	_, err := p.Ask(ctx, Master, "reload")
	return err
}

// command sends what answers nothing when it went well.
func (p *Proxy) command(ctx context.Context, command string) error {
	out, err := p.Ask(ctx, Admin, command)
	if err != nil {
		return err
	}
	// "set server addr" tells what it did, and "no need to change" is no error.
	if out = strings.TrimSpace(out); out != "" && !strings.Contains(out, "changed from") && !strings.HasPrefix(out, "no need to change") {
		return fmt.Errorf("haproxy: %s: %s", command, out)
	}
	return nil
}

// Ask sends one command to a socket of haproxy and returns the answer.
func (p *Proxy) Ask(ctx context.Context, socket, command string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	conn, err := dial(ctx, filepath.Join(p.dir, socket))
	if err != nil {
		return "", fmt.Errorf("ask haproxy: %w", err)
	}
	defer conn.Close()
	end, _ := ctx.Deadline()
	_ = conn.SetDeadline(end)
	if _, err := io.WriteString(conn, command+"\n"); err != nil {
		return "", fmt.Errorf("ask haproxy: %s: %w", command, err)
	}
	out, err := io.ReadAll(io.LimitReader(conn, 16<<20))
	if err != nil {
		return "", fmt.Errorf("ask haproxy: %s: %w", command, err)
	}
	return string(out), nil
}

func dial(ctx context.Context, path string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "unix", path)
}

func soonest(a, b time.Duration) time.Duration {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}
