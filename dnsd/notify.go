package dnsd

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
)

// Target is a secondary that is told of changes.
type Target struct {
	Addr netip.AddrPort
	Key  string // to sign with, as Key.Name; empty: none
}

// Times of notifications. RFC 1996 section 3.6 asks for retries that become
// rarer; whoever hears none of them looks at the SOA by itself (soaRefresh).
const (
	notifyGather = 100 * time.Millisecond // changes that come together are told together
	notifyTries  = 4
	notifyFirst  = time.Second // for an answer; twice as long each time
)

// Notify tells targets of every change of h's zones (RFC 1996), and once of all
// of them, until ctx ends. Targets that do not answer are tried again with the next
// change.
func (h *Handler) Notify(ctx context.Context, targets []Target, logger *slog.Logger) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, target := range targets {
		group.Go(func() error {
			h.notifyOne(ctx, target, logger)
			return nil
		})
	}
	return group.Wait()
}

func (h *Handler) notifyOne(ctx context.Context, target Target, logger *slog.Logger) {
	var last *Zone
	silent := false
	for {
		changed := h.Changes()
		if zone := h.Zone(); zone != nil {
			err := h.notifyAll(ctx, target, zone, zone.changedSince(last))
			if ctx.Err() != nil {
				return
			}
			if err != nil && !silent {
				logger.Warn("a secondary cannot be notified; it will see changes later", "secondary", target.Addr, "err", err)
			}
			silent = err != nil
			last = zone
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(notifyGather):
		}
	}
}

// notifyAll tells target of the zones at tops, until it does not answer. A
// zone that it does not have it refuses: that is no error.
func (h *Handler) notifyAll(ctx context.Context, target Target, zone *Zone, tops []*apex) error {
	for _, top := range tops {
		rcode, err := h.notify(ctx, target, zone, top)
		result := "answered"
		switch {
		case err != nil:
			result = "failed"
		case rcode != dns.RcodeSuccess:
			result = "refused"
		}
		h.metrics.notifies.WithLabelValues(result).Inc()
		if err != nil {
			return err // the others would wait as long
		}
	}
	return nil
}

// changedSince are the zones in which something changed after last, nil for all.
func (z *Zone) changedSince(last *Zone) (tops []*apex) {
	if last != nil && last.base == z.base && !newer(z.since, last.serial) {
		seen := map[*apex]bool{}
		for i := range z.past {
			if !newer(z.past[i].to, last.serial) {
				continue
			}
			for _, c := range z.past[i].changes {
				if !c.apex.alone && !seen[c.apex] {
					seen[c.apex] = true
					tops = append(tops, c.apex)
				}
			}
		}
		return tops
	}
	for _, top := range z.base.apexes {
		tops = append(tops, top)
	}
	return tops
}

// notify tells target of the zone at top until it answers.
func (h *Handler) notify(ctx context.Context, target Target, zone *Zone, top *apex) (rcode int, err error) {
	n := zone.names.get([]byte(top.name), hashOf([]byte(top.name)))
	soa := zone.soa(n, zone.serial)
	m := new(dns.Msg).SetNotify(soa.Header().Name)
	m.Answer = []dns.RR{soa}
	client := dns.Client{Net: "udp"}
	key, signs := h.keys[target.Key]
	if signs {
		client.TsigSecret = map[string]string{key.Name: key.Secret}
	} else if target.Key != "" {
		return 0, fmt.Errorf("notify %s: there is no key %s", target.Addr, target.Key)
	}
	wait := notifyFirst
	for range notifyTries {
		if signs {
			m.Extra = nil
			m.SetTsig(key.Name, key.Algorithm, 300, time.Now().Unix())
		}
		client.Timeout = wait
		var reply *dns.Msg
		began := time.Now()
		reply, _, err = client.ExchangeContext(ctx, m, target.Addr.String())
		if err == nil {
			return reply.Rcode, nil
		}
		select { // it may have refused at once
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(wait - time.Since(began)):
		}
		wait *= 2
	}
	return 0, fmt.Errorf("notify %s of %s: %w", target.Addr, soa.Header().Name, err)
}
