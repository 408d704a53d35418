package fsm

// New is the State before the first entry.
type txn struct{}

func New() *State {
	return &State{}
}

// Apply folds one entry. raw is its encoding, index its place in the log: both
// go into Chain. A refused Command returns a *Refusal as error, and a State in
// which only Index, Now, Chain and the memory of ids moved on.
func Apply(s *State, index uint64, e Entry, raw []byte) (*State, []Happened, error) {
	panic("replaced in the next commit")
}
