// Package netsock answers jails on a network's socket, /var/run/rexcarcer/networks/NAME/NAME.seq_packet: who they are,
// whom they reach, and that they want to end.
//
// Laws:
//
//   - A listener belongs to one jail, and so does its directory, which is mounted into that jail alone. Which jail asks
//     is known from the listener; nothing that a peer says or sends changes it.
//   - The kernel says which uid connects (SO_PEERCRED). Only the uids of that jail are answered.
//   - A peer costs little: a fixed number of connections, a fixed number of messages a second, messages of at most
//     MaxMessage bytes, one goroutine a connection. What is more is refused and counted.
//   - What cannot be understood is answered with an error; who goes on is cut off. Descriptors that come with a message
//     are closed by the kernel, because nobody asks for them.
//   - Answers are a pure function of the State, the jail and the request. The one wish, leave, is proposed as jail/NAME.
//
// Flow: the daemon makes a Listener for each jail of its host that may ask; Serve accepts; each connection reads
// requests, Answer makes the replies. docs/reference/socket.md is the protocol.
package netsock
