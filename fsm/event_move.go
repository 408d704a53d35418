package fsm

import (
	"fmt"
	"time"
)

// The events about moves.
type (
	// MoveChanged: a Move was asked for, or is in another phase.
	MoveChanged struct {
		Move *Move `json:"move"`
	}
	// MoveCleaned: a host has tidied up after an ended Move.
	MoveCleaned struct {
		Move *Move  `json:"move"`
		Host HostID `json:"host"`
	}
	// MoveForgotten: it ended, is tidied up, and a newer one or nothing is in
	// its place.
	MoveForgotten struct {
		Moved string `json:"moved"` // jail or volume
		ID    uint64 `json:"id"`
	}
	// VolumeHomed: a host has the volume.
	VolumeHomed struct {
		Volume *Volume `json:"volume"`
	}
	// VolumeGone: no host is known to have it.
	VolumeGone struct {
		Volume string `json:"volume"`
		Host   HostID `json:"host"`
	}
)

// Kind implements Event for each of them: its name for ever. That of a Move
// tells its phase: move_asked, move_copied and so on.
func (e MoveChanged) Kind() string { return "move_" + string(e.Move.Phase) }
func (MoveCleaned) Kind() string   { return "move_cleaned" }
func (MoveForgotten) Kind() string { return "move_forgotten" }
func (VolumeHomed) Kind() string   { return "volume_homed" }
func (VolumeGone) Kind() string    { return "volume_gone" }

// Object implements Event: noun, blank, name.
func (e MoveChanged) Object() string   { return e.Move.String() }
func (e MoveCleaned) Object() string   { return e.Move.String() }
func (e MoveForgotten) Object() string { return "move " + e.Moved }
func (e VolumeHomed) Object() string   { return "volume " + e.Volume.ID }
func (e VolumeGone) Object() string    { return "volume " + e.Volume }

// Why implements Event: the reason for people.
func (e MoveCleaned) Why() string { return "by host " + string(e.Host) }
func (MoveForgotten) Why() string { return "" }
func (e VolumeHomed) Why() string { return "on host " + string(e.Volume.Host) }
func (e VolumeGone) Why() string  { return "from host " + string(e.Host) }

// Why says from where to where, and what the phase means.
func (e MoveChanged) Why() string {
	m := e.Move
	why := fmt.Sprintf("from host %s to host %s", m.From, m.To)
	switch m.Phase {
	case MoveAsked:
		if m.Reason != "" {
			why += ": " + m.Reason
		}
	case MoveDone:
		why += fmt.Sprintf(": %d bytes", m.Bytes)
		if m.Down > 0 {
			why += fmt.Sprintf(", down for %v", m.Down.Round(time.Millisecond))
		}
		if m.Error != "" {
			why += ": " + m.Error
		}
	case MoveFailed:
		why += ": " + m.Error
	}
	return why
}

func (e MoveChanged) evolve(t *txn)   { t.moves.put(moveKey(e.Move.Object(), e.Move.ID), e.Move) }
func (e MoveCleaned) evolve(t *txn)   { t.moves.put(moveKey(e.Move.Object(), e.Move.ID), e.Move) }
func (e MoveForgotten) evolve(t *txn) { t.moves.del(moveKey(e.Moved, e.ID)) }
func (e VolumeHomed) evolve(t *txn)   { t.volumes.put(e.Volume.ID, e.Volume) }
func (e VolumeGone) evolve(t *txn)    { t.volumes.del(e.Volume) }
