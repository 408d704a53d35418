// Package bulk lets a stream inside TLS go through the kernel in large pieces.
//
// crypto/tls makes one write(2) and about one read(2) for each record, and a record holds 16 KiB (RFC 8446 section 5.1).
// A stream of a GiB so costs 130,000 system calls, and as many wake-ups of the other end. Conn lies between TLS and the
// socket, and collects.
//
// Laws:
//
//   - A Conn does nothing until it is told: everything that shares a port with streams goes through as it was.
//   - What is collected goes out at the latest with Flush: whoever called Gather must call it before waiting for the peer.
//   - The bytes and their order are those of the connection below. A write that failed fails for ever.
//
// Flow: Wrap below tls.Client or tls.Server; Of finds the Conn below a *tls.Conn again; ReadAhead on the side that
// receives; Gather, Flush and Pass on the side that sends.
package bulk
