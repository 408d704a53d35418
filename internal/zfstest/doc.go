// Package zfstest gives tests pools of real ZFS, on any Linux machine with /dev/fuse: by zfs-fuse, which serves the old
// ZFS of 2012 from user space (Debian package zfs-fuse). Where the system has a ZFS of its own, that one is used.
//
// Laws:
//
//   - A machine has one zfs-fuse, and test binaries run side by side: they share it. Each holds a shared lock on one file
//     while it lives, and whoever needs the daemon first starts it together with a guardian that waits for the exclusive
//     lock: it comes when the last test process has ended, however that ended, and then the guardian ends the daemon.
//   - A zfs-fuse that was there before is used, and stays.
//   - Every pool has a name of its own and lies in a file of the test's directory. Destroyed are only pools with our prefix.
//
// Flow: Pool in a test; the daemon, the lock and the guardian take care of themselves.
package zfstest
