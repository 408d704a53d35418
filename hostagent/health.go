package hostagent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/jail"
	"github.com/rexcarcer/rexcarcer/spec"
)

// health runs the checks of one Run and reports Running with each change. A
// Run without checks is healthy as soon as it runs.
type health struct {
	a      *Agent
	w      *worker
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func newHealth(a *Agent, w *worker) *health { return &health{a: a, w: w, cancel: func() {}} }

// start replaces the checks that run by those of the jail as State has it now.
func (h *health) start(ctx context.Context, seq uint64) {
	h.stop()
	j := WantOf(h.a.c.Cluster.State(), h.a.c.Host, h.w.row.Name, h.w.row.UUID).Jail
	if j == nil {
		return
	}
	var checked []spec.Service
	for _, s := range j.Spec.Services {
		if s.Check != nil {
			checked = append(checked, s)
		}
	}
	b := &board{h: h, seq: seq, verdicts: make([]fsm.Health, len(checked)), reasons: make([]string, len(checked))}
	for i := range b.verdicts {
		b.verdicts[i] = fsm.HealthUnknown
	}
	b.report()
	ctx, h.cancel = context.WithCancel(ctx)
	for i, s := range checked {
		h.wg.Go(func() { h.watch(ctx, j, s, func(v fsm.Health, why string) { b.set(i, v, why) }) })
	}
}

// stop ends the checks and waits for them.
func (h *health) stop() {
	h.cancel()
	h.wg.Wait()
}

// board joins the verdicts of all checks of one Run.
type board struct {
	h   *health
	seq uint64

	mu       sync.Mutex
	verdicts []fsm.Health // guarded by mu
	reasons  []string     // guarded by mu
}

func (b *board) set(i int, v fsm.Health, why string) {
	b.mu.Lock()
	changed := b.verdicts[i] != v
	b.verdicts[i], b.reasons[i] = v, why
	b.mu.Unlock()
	if changed {
		b.report()
	}
}

func (b *board) report() {
	b.mu.Lock()
	total, why := fsm.HealthHealthy, ""
	for i, v := range b.verdicts {
		if v == fsm.HealthUnhealthy || (v == fsm.HealthUnknown && total == fsm.HealthHealthy) {
			total = v
		}
		if v == fsm.HealthUnhealthy && why == "" {
			why = b.reasons[i]
		}
	}
	b.mu.Unlock()
	b.h.w.reports.send(fsm.ReportRun{Jail: b.h.w.row.Name, Host: b.h.a.c.Host, Seq: b.seq, Phase: fsm.Running, Health: total, Reason: why})
}

// watch probes one service until ctx ends. It becomes healthy at the first
// success, unhealthy after Check.Failures failures in a row, not before Grace.
func (h *health) watch(ctx context.Context, j *fsm.Jail, s spec.Service, verdict func(fsm.Health, string)) {
	r := newRhythm(s.Check, h.a.c.Clock())
	for {
		err := h.probe(ctx, j, s)
		if ctx.Err() != nil {
			return
		}
		says, wait := r.next(err == nil, h.a.c.Clock())
		switch says {
		case fsm.HealthHealthy:
			verdict(says, "")
		case fsm.HealthUnhealthy:
			verdict(says, fmt.Sprintf("check of service %s: %v", s.Name, err))
		}
		if !sleep(ctx, wait) {
			return
		}
	}
}

func (h *health) probe(ctx context.Context, j *fsm.Jail, s spec.Service) error {
	timeout := s.Check.Timeout
	if timeout <= 0 {
		timeout = time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if h.a.features.Simulated {
		return nil
	}
	if s.Check.Type == "exec" {
		rc, err := h.a.c.Jails.Exec(ctx, jailID(j.UUID), jail.Exec{Argv: s.Check.Command})
		if err == nil && rc != 0 {
			err = fmt.Errorf("exit code %d", rc)
		}
		return err
	}
	if len(j.Addrs) == 0 {
		return errors.New("the jail has no address: use a check of type exec")
	}
	target := net.JoinHostPort(j.Addrs[0].Addr.String(), strconv.Itoa(int(s.Port)))
	if s.Check.Type == "http" {
		return probeHTTP(ctx, target, s.Check.Path)
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", target)
	if err != nil {
		return err
	}
	return conn.Close()
}

// probeClient opens a new connection each time: a kept one would say that a
// dead server lives.
var probeClient = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func probeHTTP(ctx context.Context, target, path string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+target+"/", nil)
	if err != nil {
		return err
	}
	if path != "" {
		req.URL.Path = path
	}
	resp, err := probeClient.Do(req)
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil {
		return err
	}
	if resp.StatusCode < 200 || resp.StatusCode > 399 {
		return fmt.Errorf("answered %s", resp.Status)
	}
	return nil
}
