package fsm

import (
	"fmt"
	"time"
)

// MovePhase is how far a Move has come. It only grows.
type MovePhase string

// The phases, in order. Up to MoveStopped nothing is lost by giving up: the
// jail starts again where it was, with what it had.
const (
	MoveAsked   MovePhase = "asked"   // the target copies while the jail runs
	MoveCopied  MovePhase = "copied"  // the first copy is there, the jail is asked to stop
	MoveStopped MovePhase = "stopped" // it has stopped: the target fetches what changed since
	MovePlaced  MovePhase = "placed"  // all is there: the target has the volumes, and the next Run
	MoveDone    MovePhase = "done"    // it runs there, or does not want to run
	MoveFailed  MovePhase = "failed"  // given up: all is as it was
)

// Over reports whether the Move goes no further.
func (p MovePhase) Over() bool { return p == MoveDone || p == MoveFailed }

// Move takes a jail with its volumes, or a volume that no jail declares, from
// one host to another. (Object, ID) names it for ever.
type Move struct {
	ID      uint64    `json:"id"`               // index of the entry that asked
	Jail    JailName  `json:"jail,omitempty"`   // "": Volumes is one volume without a jail
	Volumes []string  `json:"volumes"`          // their ids, see VolumeID
	Quotas  []int64   `json:"quotas,omitempty"` // of Volumes, in bytes; 0: none
	From    HostID    `json:"from"`
	To      HostID    `json:"to"`
	Phase   MovePhase `json:"phase"`
	By      string    `json:"by"`
	Reason  string    `json:"reason,omitempty"` // why it was asked
	Error   string    `json:"error,omitempty"`  // why it failed, or what went wrong after it

	Bytes     int64         `json:"bytes"`          // that came over the line, both times
	Seq       uint64        `json:"seq,omitempty"`  // Run that was stopped for it
	Down      time.Duration `json:"down,omitempty"` // from the request to stop until it ran there; 0: it did not run before
	AskedAt   Time          `json:"asked_at"`
	CopiedAt  Time          `json:"copied_at,omitempty"`
	StoppedAt Time          `json:"stopped_at,omitempty"`
	PlacedAt  Time          `json:"placed_at,omitempty"`
	EndedAt   Time          `json:"ended_at,omitempty"`

	// What the two hosts have tidied up after its end: the source its old copy,
	// the target what it had fetched in vain, both their snapshots.
	FromClean bool `json:"from_clean,omitempty"`
	ToClean   bool `json:"to_clean,omitempty"`
}

// Object is what moves: the jail's name, or the volume's id. The two never
// look alike, since a volume's id has dots.
func (m *Move) Object() string {
	if m.Jail != "" {
		return string(m.Jail)
	}
	return m.Volumes[0]
}

// Active reports whether it still goes on.
func (m *Move) Active() bool { return !m.Phase.Over() }

// Before reports whether the jail may still run at the source.
func (m *Move) Before() bool { return m.Phase == MoveAsked }

// String names it for people.
func (m *Move) String() string {
	if m.Jail != "" {
		return "jail " + string(m.Jail)
	}
	return "volume " + m.Volumes[0]
}

func moveKey(object string, id uint64) string { return fmt.Sprintf("%s/%016x", object, id) }

// VolumeID is how a jail's own volume is called in the whole cluster. A volume
// outlives its jail, so it is named by what the user calls it.
func VolumeID(wish, jail, volume string) string { return wish + "." + jail + "." + volume }

// Volume is one that a host has said it has.
type Volume struct {
	ID    string `json:"id"` // see VolumeID
	Host  HostID `json:"host"`
	Since Time   `json:"since"`
}

// Volumes are the ids of the volumes that j has of its own, and their quotas.
func (j *Jail) Volumes() (ids []string, quotas []int64) {
	for i := range j.Spec.Volumes {
		if v := &j.Spec.Volumes[i]; v.Source == "" {
			ids = append(ids, VolumeID(j.Wish, j.Spec.Name, v.Name))
			quotas = append(quotas, v.QuotaBytes)
		}
	}
	return ids, quotas
}

// MovesOf are the Moves of a jail or a volume that are remembered, oldest first.
func (s *State) MovesOf(object string) []*Move {
	var all []*Move
	for _, m := range s.Moves.Prefix(object + "/") {
		all = append(all, m)
	}
	return all
}

// ActiveMove is the Move of a jail or a volume that goes on, nil if none does.
func (s *State) ActiveMove(object string) *Move {
	for _, m := range s.Moves.Prefix(object + "/") {
		if m.Active() {
			return m
		}
	}
	return nil
}

// MovingVolume is an active Move of one of j's volumes without j, nil if there
// is none: the jail was declared while it went on.
func (s *State) MovingVolume(j *Jail) *Move {
	if s.Moves.Len() == 0 {
		return nil
	}
	ids, _ := j.Volumes()
	for _, id := range ids {
		if m := s.ActiveMove(id); m != nil {
			return m
		}
	}
	return nil
}

// HomeOf is the host that has j's own volumes: what was recorded of them, else
// where the jail ran last. "" if it has none, or they were never made.
func (s *State) HomeOf(j *Jail) HostID {
	ids, _ := j.Volumes()
	if len(ids) == 0 {
		return ""
	}
	for _, id := range ids {
		if v, ok := s.Volumes.Get(id); ok {
			return v.Host
		}
	}
	if r, ok := s.Runs.Get(j.Spec.Name); ok {
		return r.Host
	}
	return ""
}

// MoveSteps is the next step of each Move, if the hosts that are there do
// their part and nothing goes wrong: what a dry run does in their place.
func (s *State) MoveSteps() (steps []MoveStep) {
	there := func(id HostID) bool {
		h, ok := s.Hosts.Get(string(id))
		return ok && h.State != HostLost
	}
	for _, m := range s.Moves.All {
		step := MoveStep{Object: m.Object(), ID: m.ID, Host: m.To}
		switch {
		case m.Phase == MoveAsked && m.Jail != "":
			step.Did = DidCopy
		case m.Phase == MoveAsked || m.Phase == MoveStopped:
			step.Did = DidReady
		case m.Phase.Over() && !m.ToClean && there(m.To):
			step.Did = DidClean
		case m.Phase.Over() && !m.FromClean && there(m.From):
			step.Did, step.Host = DidClean, m.From
		default:
			continue
		}
		steps = append(steps, step)
	}
	return steps
}
