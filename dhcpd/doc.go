// Package dhcpd answers DHCP for the guests of networks: machines that are
// plugged into a bridge and ask for an address (RFC 2131, 2132, 3046, 3396,
// 3397, 3442, 4702).
//
// Laws:
//
//   - Decide and Confirm are pure: a packet, a View of the State and the time
//     in, an Answer out. All policy is there.
//   - What is in an ACK is in the log: Confirm reads the lease from the State
//     that the entry led to. Offers are not logged; they are remembered for
//     some seconds, in a table of fixed size.
//   - All memory is of fixed size: offers, limits, queue, workers. A packet that
//     does not fit is dropped and counted; the client asks again.
//   - Nothing that a packet holds can end the program: each is handled under a
//     recover of its own.
//   - Every host answers for the same gateway address from the same log, so
//     there is no other server to be silent for: what the log does not have is
//     refused (NAK), or given where it is free.
//
// Flow: the router of a network opens the socket in its own namespace and lends
// it to the daemon (Lend, Borrow). Server.Run reads it with a few workers:
// limit -> parse -> Decide -> reply, or queue -> one log entry for all that
// waits -> Confirm -> reply.
package dhcpd
