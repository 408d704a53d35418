// Package transport is the one port on which members of a cluster speak to
// each other: TLS 1.3, certificates on both sides, and ALPN (RFC 7301) says
// which protocol a connection is for.
//
// Laws:
//
//   - A connection is handed on only when its handshake is done: the peer has
//     a certificate of this cluster, with a role that its protocol admits, and
//     was not removed. Only the protocol for joining asks for no certificate.
//   - Who dials says which member it wants, and gets that member or an error,
//     whatever address it is reached by.
//   - Identity and roots are read at each handshake: a renewal breaks nothing.
//   - What a stranger can cost is bounded: handshakes at once, and their time.
//
// Flow: Listen -> Mux.Run accepts, shakes hands, and hands the connection to
// the Listener of its protocol. Dialer.Dial is the other end; RaftLayer and
// RoundTripper put raft and HTTP on top.
package transport
