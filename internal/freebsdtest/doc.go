// Package freebsdtest is a model of a FreeBSD host for tests: a run.Runner that obeys jail(8), jls(8), jexec(8), mount(8),
// devfs(8), rctl(8) and their like, keeps what they would have made, and can be read as text.
//
// Laws:
//
//   - Texts, exit codes and the order of effects are those that FreeBSD 15.1 showed; what was not seen is refused, so that
//     a driver cannot come to rely on it.
//   - Only state is modelled. Files are real ones, below directories of the test.
//   - A crash is an answer that never comes: CrashAt stops the world before or after the n-th command, and what was done
//     by then stays done, as after kill -9 of a daemon.
//
// Flow: New registers the handlers, one per program. A driver under test gets the Host as its Runner; the test reads State,
// or looks at Jails and Mounts, afterwards.
package freebsdtest
