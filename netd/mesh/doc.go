// Package mesh makes the WireGuard device of this host, over which networks reach from host to host: one key pair, one
// UDP port, and a peer for each other host with the addresses that are behind it.
//
// Laws:
//
//   - Set takes the whole wish. Doing it twice is harmless; only what differs from the last wish is told to the device, so
//     sessions of peers that stay are not cut.
//   - Without peers there is no device: a cluster of one costs nothing.
//   - What comes out of the device was sent by the host that has its source address: that is what allowed addresses are.
//     An address that is given to another peer leaves the first in the same moment.
//   - Private keys stay in memory here, and are never in an argument of a program.
//
// The kernel's own WireGuard is used where there is one, which is found out by trying; elsewhere the device is one of
// golang.zx2c4.com/wireguard in this process, on a tun. Such a device ends with the process: until the daemon is back, jails
// of this host are cut off from other hosts. A device of the kernel stays, and is adopted by the next daemon.
//
// Flow: New, Set for each change of the State, Show for people, Close. Routes to the device and who may use it are
// netd's business, not of this package.
package mesh
