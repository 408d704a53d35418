// Package live runs a real daemon for benches: its own data, its own sockets,
// no ports; a base of busybox alone; and the times at which things happened,
// as the log has them.
//
// What is timed is what the log says: an event carries the time at which its
// Command was proposed, so "placed" is when the scheduler decided, and
// "running" is when the agent said that the first process runs.
package live
