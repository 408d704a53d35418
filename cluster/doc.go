// Package cluster is the one door to the log: raft, the State that it builds,
// and the duties that the leader runs.
//
// Laws:
//
//   - Propose is the only way to write; State is the only way to read. State
//     is published by an atomic pointer after each batch of entries.
//   - An acknowledged Propose is on disk on a majority. A retry with the same
//     Entry.ID happens once.
//   - A host that has lost its memory (raft.db or identity gone while
//     snapshots or the guard remain) refuses to start, and one whose data
//     directory stops answering ends its process: a leader with a hung disk
//     would otherwise stay leader for ever (hashicorp/raft issues 503, 666).
//   - Entries are archived before raft may forget them, so that any past
//     index can be rebuilt.
//
// Flow: Propose -> raft log -> machine.ApplyBatch -> fsm.ApplyAll -> publish
// -> Watch wakes the reconcilers, which read State again.
package cluster
