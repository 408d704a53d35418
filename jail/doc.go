// Package jail creates, starts, stops and observes jails, and runs commands in them.
//
// A Driver gets the whole wish for one jail (a Spec) and makes it so. Linux runs an OCI runtime (runc, or crun where a
// probe shows that it works); FreeBSD runs jail(8); Sim pretends, for `-runtime=sim` and for tests.
//
// Laws:
//
//   - Asking twice is harmless: to start what runs, to stop what has ended, to remove what is not there is success.
//   - What a dead predecessor left half done is cleaned up or adopted; a jail outlives the daemon that started it.
//   - Nothing here decides: when to start, restart or give up is the caller's business. A driver does one thing now.
//   - The root file system, the volumes and the network namespace are made by others and only used here.
//
// Flow of the Linux driver: Start writes an OCI bundle below StateDir, runs the runtime detached with its output straight
// into the log file, and watches the jail's first process by a pidfd. Its end is learned by waitid(2) when we are its
// (sub)reaper, else from the pidfd itself (PIDFD_GET_INFO, Linux 6.15), else not at all: Exit.Known says so. Stop
// signals through the pidfd. Remove deletes the cgroups and the bundle. List reads StateDir, so that a restarted daemon
// finds everything, and Wait works on what it adopted.
//
// Flow of the FreeBSD driver: Start writes StateDir/<id>/record.json and the jail's own jail.conf(5), reads its devfs
// ruleset back, sets the rctl(8) rules, calls jail -c, and starts the command by jexec(8) with its output straight into
// the log file. A jail that shares a network is a child of the vnet jail that netd made. The end of its first process is
// learned by wait4(2), or by kqueue(2) when another daemon started it. A command that is /etc/rc makes a whole system: it
// has no first process and ends with its jail. Stop is jail -r with the same file, and jail -R when that fails; Remove
// unmounts what is left, deepest first. All of it is portable code that is tested on the model in internal/freebsdtest;
// only kernel_freebsd.go needs FreeBSD.
package jail
