package fsm

// The commands that bring a saved State back. It travels through the log like
// everything else, in parts, because an entry has MaxEntry bytes at most.

// RestorePart brings part N (from 0) of the snapshot ID. Part 0 of another
// snapshot drops what came of the one before.
type RestorePart struct {
	ID   string `json:"id"` // SHA-256 of the snapshot, hex
	N    int    `json:"n"`
	Data []byte `json:"data"` // at most 4 MiB
}

// RestoreState makes what the snapshot ID declares the truth, once all its
// parts are there. What the cluster is stays: its id, its CAs, hosts, tokens
// and who is denied.
type RestoreState struct {
	ID      string `json:"id"`
	Parts   int    `json:"parts"`
	Foreign bool   `json:"foreign,omitempty"` // it may be another cluster's
	Drop    bool   `json:"drop,omitempty"`    // only forget the parts
}

// Kind implements Command for each of them.
func (RestorePart) Kind() string  { return "restore_part" }
func (RestoreState) Kind() string { return "restore_state" }
