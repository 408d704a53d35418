// Package e2e runs the built programs as a user would: real daemons, real jails, real networks, on this machine.
//
// Laws: each daemon has a data directory and a run directory of its own, below /var/tmp, and free ports, so that the tests live
// beside any other rexcarcer; what a test asserts it looks at from outside (processes, /proc, netlink, cgroups), not
// only through rexctl; every wait has a deadline, and poll is the only place that sleeps.
//
// Flow: TestMain finds or builds the binaries and makes a busybox base; newHost starts a daemon and, at the end of
// the test, stops it and checks that nothing of it is left.
package e2e
