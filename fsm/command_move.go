package fsm

// The commands about moves, and about which host has which volume.

// MoveJail takes a jail with its own volumes to another host. It goes on in
// steps of the two hosts; see Move. Refused for a host that is not alive or
// has no room, and while another Move of the jail goes on or is not tidied up
// on one of the two hosts.
type MoveJail struct {
	Jail JailName `json:"jail"`
	To   HostID   `json:"to"`
	Why  string   `json:"why,omitempty"`
}

// MoveVolume takes a volume that no jail declares to another host.
type MoveVolume struct {
	Volume string `json:"volume"`
	To     HostID `json:"to"`
	Why    string `json:"why,omitempty"`
}

// CancelMove gives up a Move before its jail was asked to stop.
type CancelMove struct {
	Object string `json:"object"` // the jail's name or the volume's id
}

// MoveStep is what a host has done for a Move.
type MoveStep struct {
	Object string  `json:"object"`
	ID     uint64  `json:"id"`
	Host   HostID  `json:"host"`
	Did    MoveDid `json:"did"`
	Bytes  int64   `json:"bytes,omitempty"` // that came over the line for it
	Why    string  `json:"why,omitempty"`   // of failed
}

// MoveDid is one thing that a host does for a Move.
type MoveDid string

// What hosts do. The target copies, gets the rest, or gives up; both clean.
const (
	DidCopy  MoveDid = "copied"  // the first copy is here: the jail may stop
	DidReady MoveDid = "ready"   // all of it is here
	DidFail  MoveDid = "failed"  // it cannot be done
	DidClean MoveDid = "cleaned" // nothing of an ended Move is left here that does not belong here
)

// ReportVolume says that a host has a volume (or, with Gone, no longer). It
// does not change where a volume is at home: only a Move does.
type ReportVolume struct {
	Volume string `json:"volume"`
	Host   HostID `json:"host"`
	Gone   bool   `json:"gone,omitempty"`
}

// Kind implements Command for each of them.
func (MoveJail) Kind() string     { return "move_jail" }
func (MoveVolume) Kind() string   { return "move_volume" }
func (CancelMove) Kind() string   { return "cancel_move" }
func (MoveStep) Kind() string     { return "move_step" }
func (ReportVolume) Kind() string { return "report_volume" }
