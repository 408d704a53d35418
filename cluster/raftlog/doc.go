// Package raftlog is raft's log on disk: segment files that take one write and
// one sync for each batch of entries, and below them the database that keeps
// what raft sets by key.
//
// Laws:
//
//   - StoreLogs returns when the entries would survive a loss of power. What it
//     did not acknowledge may be gone after a crash, whole or from some entry on.
//   - StoreAhead returns earlier: for a leader, whose entries count only when
//     others have them too. Settled is where it must wait before it counts them.
//   - A write changes no metadata: a segment has its full size, in zeros,
//     before the first record is written to it. So a sync is one request to the
//     disk, where a database needs two.
//   - Each batch is synced before the next is written. So only the last one can
//     be torn by a crash; damage before it is an error that names the file, and
//     is never taken for the end of the log.
//   - What is deleted is recorded in order, like entries: at every byte a
//     crash leaves a log that was there once.
//   - Entries that an earlier version left in the database are read from there
//     until they are compacted away; new ones go to segments only.
//
// Flow: Open reads all segments and keeps where each entry is. StoreLogs
// appends a batch to the newest; when that is half full the next is made
// ready in the background. DeleteRange appends a record, and removes the oldest
// segments once nothing in them is wanted.
package raftlog
