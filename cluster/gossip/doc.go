// Package gossip sees which members are alive, by memberlist: every member
// probes others, and a death is told on after it was suspected for a while.
//
// Laws:
//
//   - Messages are encrypted, with a label of the cluster. Who has no key of
//     the log is not heard, and cannot send what memberlist would unpack.
//   - A member is known by its id. Two that claim the same are an error that
//     is told loudly, and the first one stays; strangers are not taken in.
//   - What is seen is an opinion. Whether a host is lost is decided on the
//     leader, which also knows who has called it.
//
// Flow: Start -> Run joins those that Peers names and are not seen yet ->
// Members says what is seen.
package gossip
