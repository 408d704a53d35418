// Package cluster runs several real daemons as processes on this machine, with
// ports and directories of their own and simulated jails, so that it needs no
// root: how a cluster forms, fails over, loses its quorum and heals.
//
// Laws: what a test asserts it asks of the daemons through rexctl, as a user
// would; every wait has a deadline, and poll is the only place that sleeps.
package cluster
