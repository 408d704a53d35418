// Package report prints and stores what a bench measured beside its peer.
//
// One absolute figure on a shared machine is worth little (plus or minus 40 %),
// so a bench runs ours and the peer in turn, several rounds, and reports the
// ratio of the medians. Every bench of the repository uses this package, so
// that all tables and all files in bench-results/ have one shape.
package report
