// Package uplink keeps an address from outside on one interface, by DHCP (RFC 2131), for a router whose network has an
// interface of its own on a NIC of the host.
//
// Laws:
//
//   - An address is used as long as it is leased and no longer: the kernel is told when it ends (valid lifetime), so that
//     also a program that was killed keeps nothing.
//   - The way out is two routes of one bit each: they are taken before the default route, which leads by the host, and
//     with the address they go. A router without a lease goes by the host.
//   - A lease whose subnet meets that of another interface is refused: it would cut the network off.
//
// Flow: Run asks (DISCOVER, with the address that it had), sets address and routes, renews at T1, asks again when it
// was told NAK or the lease has ended. Linux only; elsewhere Run says so.
package uplink
