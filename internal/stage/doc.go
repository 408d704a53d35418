// Package stage builds States for the tests and benches of the pure core: a
// cluster with hosts, wishes written in a line a jail, and agents that do what
// they are told.
//
// Everything goes through fsm.Apply, so a State on a stage is one that the
// log could have made. It is used by tests and benches only.
package stage
