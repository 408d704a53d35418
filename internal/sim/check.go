package sim

import (
	"errors"
	"fmt"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// check judges by what is so, after every event: two processes of one jail that
// may not run twice never run at once.
func (w *World) check() {
	runs := map[string]*host{}
	for _, h := range w.hosts {
		for uuid, p := range h.procs {
			if !p.fence {
				continue
			}
			if twin := runs[uuid]; twin != nil && w.broken == nil {
				a, b := twin, h
				if a.id > b.id {
					a, b = b, a
				}
				w.broken = fmt.Errorf("jail %s runs on %s (run %d) and on %s (run %d) at once",
					w.nameOf(uuid), a.id, a.procs[uuid].seq, b.id, b.procs[uuid].seq)
			}
			runs[uuid] = h
		}
	}
}

func (w *World) nameOf(uuid string) fsm.JailName {
	for name, j := range w.State().Jails.All {
		if j.UUID == uuid {
			return fsm.JailName(name)
		}
	}
	return fsm.JailName(uuid)
}

// settled says what is not as wished: each jail runs once, where State says, and
// is healthy; nothing else runs.
func (w *World) settled() error {
	s := w.State()
	var wrong []error
	expected := map[string]*host{}
	for name, j := range s.Jails.All {
		r := s.LiveRun(fsm.JailName(name))
		switch {
		case j.Want != fsm.WantRunning:
		case r == nil:
			wrong = append(wrong, fmt.Errorf("jail %s has no run", name))
		case r.Phase != fsm.Running || r.Health != fsm.HealthHealthy:
			wrong = append(wrong, fmt.Errorf("jail %s run %d on %s is %s, %s", name, r.Seq, r.Host, r.Phase, r.Health))
		default:
			for _, h := range w.hosts {
				if h.id == r.Host {
					expected[j.UUID] = h
				}
			}
		}
	}
	for _, h := range w.hosts {
		for uuid := range h.procs {
			if expected[uuid] != h {
				wrong = append(wrong, fmt.Errorf("jail %s runs on %s, which State does not say", w.nameOf(uuid), h.id))
			}
		}
	}
	for uuid, h := range expected {
		if h.procs[uuid] == nil {
			wrong = append(wrong, fmt.Errorf("jail %s does not run on %s, which State says", w.nameOf(uuid), h.id))
		}
	}
	return errors.Join(wrong...)
}

// Replay folds the encoded log anew and compares the hash of every State.
func (w *World) Replay() error {
	s := fsm.New()
	for i, e := range w.entries {
		raw, err := fsm.Encode(e)
		if err != nil {
			return fmt.Errorf("entry %d: %w", i+1, err)
		}
		back, err := fsm.Decode(raw)
		if err != nil {
			return fmt.Errorf("entry %d: %w", i+1, err)
		}
		s, _, _ = fsm.Apply(s, uint64(i+1), back, raw) // refusals are part of the story
		if want := w.states[i+1]; s.Chain != want.Chain || s.Index != want.Index {
			return fmt.Errorf("entry %d (%s): replay has another hash", i+1, e.Cmd.Kind())
		}
	}
	return nil
}
