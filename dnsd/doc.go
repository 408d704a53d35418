// Package dnsd answers DNS from the State: the cluster's zone and the reverse
// zones of its subnets with authority, everything else through the host's
// resolvers for those who may.
//
// Laws:
//
//   - A Zone is a whole, immutable table. A change makes a new Zone that
//     replaces the old one by one atomic pointer; there is no half of a change.
//   - All that can be computed before a query comes is: an answer is the
//     query's own header and question (so its letter case survives, which some
//     resolvers use against spoofing) and bytes packed when the Zone was built.
//   - The hot path parses by hand, allocates nothing and knows only the
//     ordinary query. Whatever is unusual goes to miekg/dns; only this package
//     uses it.
//   - Whatever comes in, a query costs at most one answer and never the
//     process: recover per query, bounded concurrency, nothing larger than 1232
//     bytes over UDP, a rate for each source, minimal ANY (RFC 8482), whole zones
//     for named peers only.
//   - A resolver is believed about the name that it was asked for, and never
//     about ours.
//   - dnsd writes nothing and decides nothing: which records exist, and who is
//     healthy, is the State's.
//
// Flow in the daemon: Builder turns each State into a Zone for the host's own
// resolver, at the cost of what changed; ServeFeed sends each network's router its
// Table, and then the sets that change, over its SOCK_SEQPACKET socket. Flow in a
// router: Follow receives them and keeps the last Zone while the daemon is away;
// Handler.SetZone publishes it; Server reads packets, Handler answers them. A
// query for a name that is not ours goes to the Forwarder; zones go to secondaries by
// transfer, and Notify tells them of changes; a Signer signs what is asked with
// DNSSEC OK. docs/design/dns.md says why it is so.
package dnsd
