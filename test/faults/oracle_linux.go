package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/fsm"
)

// register is the model: what is read is what was written last.
var model = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		by := map[string][]porcupine.Operation{}
		var keys []string
		for _, p := range history {
			key := p.Input.(op).key
			if by[key] == nil {
				keys = append(keys, key)
			}
			by[key] = append(by[key], p)
		}
		var out [][]porcupine.Operation
		for _, key := range keys {
			out = append(out, by[key])
		}
		return out
	},
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		if do := input.(op); do.write {
			return true, do.value
		}
		return output == state, state
	},
}

// verdict is what the oracle says of one round.
type verdict struct {
	acked, unknown, reads int
	lost                  []string // acknowledged writes that are not in the log where they should be
	broken                string   // why the history is not linearizable; empty: it is
	differ                string   // how the hosts' States differ; empty: they do not
}

func (v verdict) err() error {
	if len(v.lost) > 0 {
		return fmt.Errorf("%d of %d acknowledged writes are lost: %v", len(v.lost), v.acked, v.lost[:min(5, len(v.lost))])
	}
	if v.broken != "" {
		return fmt.Errorf("the history of %d writes and %d reads: %s", v.acked, v.reads, v.broken)
	}
	if v.differ != "" {
		return fmt.Errorf("the hosts have another State: %s", v.differ)
	}
	return nil
}

// judge looks at what the clients were told, once the load has stopped and all hosts are well.
func (o *load) judge(ctx context.Context) (verdict, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	v := verdict{acked: len(o.acked), unknown: len(o.unknown), reads: len(o.history) - len(o.acked)}
	switch porcupine.CheckOperationsTimeout(model, o.whole(), 30*time.Second) {
	case porcupine.Illegal:
		v.broken = "it is not linearizable"
	case porcupine.Unknown:
		v.broken = "porcupine did not come to an end within 30 s"
	}
	var err error
	if v.differ, err = o.l.same(ctx, slices.Max(slices.Collect(maps.Keys(o.acked)))); err != nil {
		return v, err
	}
	at := o.l.all[0]
	found, err := o.logged(ctx, at)
	if err != nil {
		return v, fmt.Errorf("read the log of %s: %w", at.name, err)
	}
	for index, do := range o.acked {
		// A proposal that was carried to two leaders is two entries of one id: the
		// first does it, and the answer may name the second.
		if first, ok := found[[2]string{do.key, do.value}]; !ok || first > index {
			v.lost = append(v.lost, fmt.Sprintf("%s=%s at index %d", do.key, do.value, index))
		}
	}
	slices.Sort(v.lost)
	return v, nil
}

// whole is the history with those writes of unknown outcome that somebody has
// read. The others may be thought to come last, where they disturb nobody.
func (o *load) whole() []porcupine.Operation {
	read := map[[2]string]bool{}
	end := int64(0)
	for _, p := range o.history {
		if do := p.Input.(op); !do.write {
			read[[2]string{do.key, p.Output.(string)}] = true
		}
		end = max(end, p.Return)
	}
	out := slices.Clone(o.history)
	for _, p := range o.unknown {
		if do := p.Input.(op); read[[2]string{do.key, do.value}] {
			p.Return = end + 1
			out = append(out, p)
		}
	}
	return out
}

// logged is what the entries after base have set: register and value -> index.
func (o *load) logged(ctx context.Context, at *host) (map[[2]string]uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	out := map[[2]string]uint64{}
	err := at.client.Events(ctx, api.EventFilter{Since: o.base, Kind: fsm.HostLabeled{}.Kind(), Data: true}, func(e api.Event) error {
		var data struct {
			Host struct {
				Labels map[string]string `json:"labels"`
			} `json:"host"`
		}
		if err := json.Unmarshal(e.Data, &data); err != nil {
			return fmt.Errorf("event %d.%d: %w", e.Index, e.N, err)
		}
		for label, value := range data.Host.Labels {
			if at := [2]string{label, value}; out[at] == 0 {
				out[at] = e.Index
			}
		}
		return nil
	})
	return out, err
}

// same wants one hash at one index, after that of the last acknowledged write, on all hosts.
func (l *lab) same(ctx context.Context, last uint64) (differ string, err error) {
	seen := map[uint64]map[string]string{} // index -> host -> chain
	err = wait(ctx, patience, "all hosts are at one index", func() error {
		for _, h := range l.all {
			st, err := l.status(ctx, h)
			if err != nil {
				return err
			}
			if st.Index < last {
				return fmt.Errorf("%s is at %d, and %d was acknowledged", h.name, st.Index, last)
			}
			if seen[st.Index] == nil {
				seen[st.Index] = map[string]string{}
			}
			seen[st.Index][h.name] = fmt.Sprint(st.Chain)
		}
		for index, chains := range seen {
			if len(chains) < len(l.all) {
				continue
			}
			for _, c := range chains {
				if c != chains[l.all[0].name] {
					differ = fmt.Sprintf("at index %d: %v", index, chains)
				}
			}
			return nil
		}
		return errors.New("no index that all have been at")
	})
	return differ, err
}
