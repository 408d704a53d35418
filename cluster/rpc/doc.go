// Package rpc carries between members what only the leader can do: proposals,
// consistent reads and pings, as small HTTP requests over package transport.
//
// Laws:
//
//   - Who asks is who the certificate says. A member speaks for itself; only
//     a server carries what users and tokens asked of it, and even a server
//     never speaks for another member (see MayPropose).
//   - A proposal keeps its id on every way it takes, so it happens once.
//
// Flow: cluster.Node -> Client -> (transport) -> Handler -> Node of the leader.
package rpc
