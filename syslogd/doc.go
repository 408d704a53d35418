// Package syslogd takes what jails log by syslog and hands it to the host's
// daemon, which knows whose it is.
//
// Laws:
//
//   - Who logs is who has the address: the network pins addresses, so what a
//     message says of its own host is ignored.
//   - Nothing here blocks a jail or grows without bound: messages are cut at
//     MaxMessage, each source has a rate, and while the daemon is away the
//     oldest messages are kept up to a limit. What is lost is counted.
//   - Parse takes any bytes and never fails: a line that follows no standard is
//     a text.
//
// Flow: jail -> UDP or TCP (RFC 3164, 5424, 6587) -> Server in the network's
// router -> Relay -> the daemon's socket -> Collect -> the log of the jail, and
// Forward to another syslog server where that is wanted. TLS (RFC 5425) passes
// the router unopened: Passage carries it to the daemon, which has the key.
package syslogd
