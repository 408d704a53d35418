package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/rexcarcer/rexcarcer/api"
)

// The registers are labels of the first host, which no fault removes: one write
// is one entry of the log, and the last one is what a consistent read finds.
const registers = 6

// op is what a client did to a register.
type op struct {
	key   string
	write bool
	value string // that was written
}

// load is some clients that write and read until they are told to stop.
type load struct {
	l       *lab
	prefix  string // of the registers' names: each round has its own
	begun   time.Time
	base    uint64 // index of the log before the first write
	stopped chan struct{}
	wg      sync.WaitGroup

	mu      sync.Mutex
	history []porcupine.Operation // guarded by mu; of what was answered
	unknown []porcupine.Operation // guarded by mu; writes that may have happened
	acked   map[uint64]op         // guarded by mu; by the index that the answer named
	acks    []ack                 // guarded by mu
	values  int                   // guarded by mu
}

// ack is when a write began and was acknowledged.
type ack struct{ call, done time.Time }

// begin starts the clients, spread over the hosts; each waits for its answer, then for pace.
func (l *lab) begin(ctx context.Context, clients int, pace time.Duration) (*load, error) {
	l.rounds++
	st, err := l.status(ctx, l.all[0])
	if err != nil {
		return nil, err
	}
	o := &load{l: l, prefix: fmt.Sprintf("r%d", l.rounds), begun: time.Now(), base: st.Index, stopped: make(chan struct{}), acked: map[uint64]op{}}
	for i := range clients {
		o.wg.Go(func() { o.client(ctx, i, pace) })
	}
	return o, nil
}

func (l *lab) status(ctx context.Context, h *host) (api.Status, error) {
	ctx, cancel := asking(ctx)
	defer cancel()
	return h.client.Status(ctx)
}

// stop lets every client finish what it does.
func (o *load) stop() {
	close(o.stopped)
	o.wg.Wait()
}

func (o *load) client(ctx context.Context, id int, pace time.Duration) {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for turn := 0; ; turn++ {
		select {
		case <-o.stopped:
			return
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		at := o.l.all[(id+turn/8)%len(o.l.all)]
		key := (id*7 + turn) % registers
		if turn%3 == 2 {
			o.read(ctx, id, at, key)
		} else {
			o.write(ctx, id, at, key)
		}
	}
}

// owner is the host whose labels the registers are.
func (o *load) owner() string { return o.l.all[0].name }

func (o *load) register(key int) (label string) { return fmt.Sprintf("%s-k%d", o.prefix, key) }

func (o *load) write(ctx context.Context, id int, at *host, key int) {
	label := o.register(key)
	o.mu.Lock()
	o.values++
	do := op{label, true, fmt.Sprintf("v%d", o.values)}
	o.mu.Unlock()
	call := time.Now()
	ctx, cancel := asking(ctx)
	defer cancel()
	done, err := at.client.LabelHost(ctx, o.owner(), api.HostLabels{Set: map[string]string{label: do.value}})
	now := time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	p := porcupine.Operation{ClientId: id, Input: do, Call: int64(call.Sub(o.begun)), Return: int64(now.Sub(o.begun))}
	if dialled := (*api.Unreachable)(nil); errors.As(err, &dialled) {
		return // nobody was asked
	}
	if err != nil {
		o.unknown = append(o.unknown, p)
		return
	}
	o.history = append(o.history, p)
	o.acked[done.Index] = do
	o.acks = append(o.acks, ack{call, now})
}

func (o *load) read(ctx context.Context, id int, at *host, key int) {
	label := o.register(key)
	call := time.Now()
	ctx, cancel := asking(ctx)
	defer cancel()
	res, err := at.client.Do(ctx, "GET", "/v1/hosts/"+o.owner()+"?consistent", nil, nil)
	if err != nil {
		return // what was not answered promises nothing
	}
	defer res.Body.Close()
	var row api.HostRow
	if json.NewDecoder(res.Body).Decode(&row) != nil {
		return
	}
	now := time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.history = append(o.history, porcupine.Operation{
		ClientId: id, Input: op{key: label}, Output: row.Labels[label], Call: int64(call.Sub(o.begun)), Return: int64(now.Sub(o.begun)),
	})
}

// ackAfter is when the first write that began after t was acknowledged.
func (o *load) ackAfter(ctx context.Context, t time.Time) (time.Duration, error) {
	var took time.Duration
	err := wait(ctx, patience, "a write is acknowledged", func() error {
		o.mu.Lock()
		defer o.mu.Unlock()
		for _, a := range o.acks {
			if a.call.After(t) && (took == 0 || a.done.Sub(t) < took) {
				took = a.done.Sub(t)
			}
		}
		if took == 0 {
			return fmt.Errorf("none of %d since", len(o.unknown))
		}
		return nil
	})
	return took, err
}

// tidy removes the labels of the round: a host has at most 256.
func (o *load) tidy(ctx context.Context) error {
	var labels []string
	for key := range registers {
		labels = append(labels, o.register(key))
	}
	return wait(ctx, patience, "labels are removed", func() error {
		ctx, cancel := asking(ctx)
		defer cancel()
		_, err := o.l.all[0].client.LabelHost(ctx, o.owner(), api.HostLabels{Remove: labels})
		return err
	})
}
