// Package proxy drives the haproxy of a network: what `mode = "http"` of a published port asks for.
//
// Laws:
//
//   - The whole wish each time. What runs is read from haproxy itself, so a daemon that was killed goes on where it was.
//   - Members come, go and drain through the runtime socket: no reload, no connection is lost. Only other ports, or more
//     members than there are places, need a reload, in which the old process ends its connections.
//   - The file always names the members of now: who starts haproxy again has what was there.
//   - Health is the State's business. haproxy checks nothing; it tries another member when one does not answer.
//
// Flow: Text is the file; Converge asks `show info` and `show servers state`, and sends what differs.
package proxy
