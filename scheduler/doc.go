// Package scheduler decides which jail runs on which host, when one is
// started again and when one is stopped, as a pure function of the State.
//
// Laws:
//
//   - Schedule(State, now) reads nothing else: no clock, no randomness, no
//     environment. The same arguments give the same Decision on every host.
//   - It proposes, fsm.Apply disposes: policy is here, invariants are there.
//   - It is idempotent: on a State that has folded the Commands of a Decision
//     it proposes nothing new, so calling it too often is harmless.
//   - Every jail that should run and does not has one entry in Pending that
//     says why in words, host by host where hosts refused it.
//   - Scores are integers, so that two machines never round differently.
//
// Flow of one pass: scan (what every jail needs: nothing, a stop, a start, a
// wait) -> place (filters, scores, best host first) -> roll (stop what is out
// of date or on a draining host, as fast as its group allows).
//
// docs/design/scheduler.md explains the policy and the data structures.
package scheduler
