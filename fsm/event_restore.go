package fsm

import "fmt"

// The events of a restore.
type (
	// RestorePrepared: a part of a snapshot waits for the others.
	RestorePrepared struct {
		ID    string `json:"id"`
		N     int    `json:"n"`
		Bytes int    `json:"bytes"`
		part  *restoring
	}
	// RestoreDropped: the parts are forgotten.
	RestoreDropped struct {
		ID string `json:"id"`
	}
	// StateRestored: what was declared is what the snapshot had.
	StateRestored struct {
		ID      string `json:"id"`
		From    string `json:"from"`    // cluster that it was saved in
		Index   uint64 `json:"index"`   // of the log there
		Content string `json:"content"` // State.ContentHash of the snapshot, hex
		Jails   int    `json:"jails"`
		saved   *State
	}
)

// Kind implements Event for each of them: its name for ever.
func (RestorePrepared) Kind() string { return "restore_prepared" }
func (RestoreDropped) Kind() string  { return "restore_dropped" }
func (StateRestored) Kind() string   { return "state_restored" }

// Object implements Event: noun, blank, name.
func (e RestorePrepared) Object() string { return "snapshot " + clip16(e.ID) }
func (e RestoreDropped) Object() string  { return "snapshot " + clip16(e.ID) }
func (e StateRestored) Object() string   { return "snapshot " + clip16(e.ID) }

// Why implements Event: the reason for people.
func (e RestorePrepared) Why() string { return fmt.Sprintf("part %d, %d bytes", e.N, e.Bytes) }
func (RestoreDropped) Why() string    { return "it is not restored" }
func (e StateRestored) Why() string {
	return fmt.Sprintf("saved by cluster %s at index %d: %d jails", e.From, e.Index, e.Jails)
}

func (e RestorePrepared) evolve(t *txn) {
	if e.N == 0 {
		t.parts = tableOf(Tree[*restoring]{})
	}
	t.parts.put(partKey(e.N), e.part)
}
func (RestoreDropped) evolve(t *txn)  { t.parts = tableOf(Tree[*restoring]{}) }
func (e StateRestored) evolve(t *txn) { t.restore(e.saved) }
