// Package fsm is the replicated state machine: the State, the Commands that
// ask for changes, the Events that made them, Apply, and their codec.
//
// Laws:
//
//   - Apply is a pure function of its arguments: no clock, randomness,
//     environment, file, network, lock, log or map order. The same log gives
//     the same State, byte for byte, on every host and for ever.
//
//   - A State is never changed in place. Apply returns a new one that shares
//     what stayed; readers keep theirs as long as they like, without a lock.
//
//   - State changes only through an Event: Apply decides (checks the Command,
//     chooses Events), then evolves (folds the Events).
//
//   - A Command that is refused changes nothing but Index, Now, Chain and the
//     memory of its ID, and comes back as a *Refusal.
//
//   - Policy lives elsewhere: Apply checks invariants, it never prefers.
//
//   - Entries are for ever: kinds and fields are added, never changed or taken
//     away (docs/howto-add-a-command.md).
//
// Flow: Propose -> log -> Decode -> Apply(State, Entry) -> State', Events.
// Inside: begin a txn; per entry, decide emits Events, emit evolves them into
// the txn at once; commit publishes. Read apply.go, then one cmd_*.go beside
// its story in testdata/story. docs/design/fsm.md says why it is like this.
package fsm
