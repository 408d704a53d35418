// Package apitest is a cluster without raft, hosts and jails for tests of the
// API and of rexctl: a Log that folds every command by the real fsm.Apply, in
// this process, and a Host that pretends to run jails.
//
// Laws: nothing happens but by a call: after every command the pretended
// agent does its part before Propose returns, and the log's clock moves one
// second per entry. So the same calls give the same State.
package apitest
