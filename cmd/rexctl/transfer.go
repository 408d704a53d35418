package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
)

// lookTime bounds a look at what a host fetches: it is for people who wait for
// something else.
const lookTime = 2 * time.Second

// hostShown is a host and, for people, the streams that run there now.
type hostShown struct {
	api.HostRow
	streams []api.TransferRow
	time    *api.ClockRow // nil: it did not answer
}

func lookAtHost(c *cli.Context, a *api.Client) (hostShown, error) {
	row, err := a.Host(c.Context, c.Args().First())
	out := hostShown{HostRow: row}
	if err != nil || row.State != "alive" || structured(c) {
		return out, err
	}
	ctx, cancel := context.WithTimeout(c.Context, lookTime)
	defer cancel()
	out.streams, _ = a.Transfers(ctx, string(row.ID)) // a host that does not answer is shown without
	if row, err := a.Clock(ctx, string(row.ID)); err == nil {
		out.time = &row
	}
	return out, nil
}

// streamLine tells one stream: "fetches layer 6f1d… from h2: 512 MiB of 1 GiB, 128 MiB/s, 4s left".
func streamLine(t api.TransferRow) string {
	verb, way := "fetches", "from"
	if t.Direction == "out" {
		verb, way = "sends", "to"
	}
	text := verb + " " + shortObject(t.Object)
	if t.Peer != "" {
		text += " " + way + " " + t.Peer
	}
	text += ": " + size(t.Bytes)
	if t.Total > t.Bytes {
		text += " of " + size(t.Total)
	}
	text += ", " + size(t.Rate) + "/s"
	if left := time.Duration(t.LeftMs) * time.Millisecond; left > 0 {
		text += ", " + max(left.Round(time.Second), time.Second).String() + " left"
	}
	return clean(text)
}

// shortObject cuts a digest.
func shortObject(object string) string {
	if head, hex, ok := strings.Cut(object, "sha256:"); ok && len(hex) > 12 {
		return head + hex[:12]
	}
	return object
}

// fetches says what hosts bring here for jails that are waited for: a line for
// each stream that is new and, on a terminal, how far they are.
func (w *waiter) fetches(ctx context.Context, jails []api.JailRow) {
	if w.c.Bool("quiet") || time.Since(w.looked) < time.Second {
		return
	}
	w.looked = time.Now()
	const most = 4
	hosts := map[string]bool{}
	live := ""
	for _, j := range jails {
		if j.Host == "" || j.Phase == "running" || j.Simulated || hosts[j.Host] || len(hosts) == most {
			continue
		}
		hosts[j.Host] = true
		lctx, cancel := context.WithTimeout(ctx, lookTime)
		rows, err := w.client.Transfers(lctx, j.Host)
		cancel()
		if err != nil {
			continue // it is busy, or older than this
		}
		for _, t := range rows {
			if t.Direction != "in" {
				continue
			}
			if key := j.Host + " " + t.Object; w.told[key] == "" {
				w.told[key] = "fetches"
				w.say("host %s: %s", j.Host, streamLine(t))
			}
			if live == "" {
				live = fmt.Sprintf("  host %s: %s", clean(j.Host), streamLine(t))
			}
		}
	}
	if w.e.errTTY && (live != "" || w.live) {
		_, _ = fmt.Fprintf(w.e.stderr, "\r\x1b[K%s", live)
		w.live = live != ""
	}
}

// patience is how long to wait for news: not long while somebody looks on.
func (w *waiter) patience() time.Duration {
	if w.e.errTTY && !w.c.Bool("quiet") {
		return time.Second
	}
	return 10 * time.Second
}
