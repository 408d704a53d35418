// Package seqpacket is what SOCK_SEQPACKET sockets in the file system differ in from system to system: who is at the
// other end, and how a message is sent so that its border stays.
//
// Flow: the caller listens by net.ListenUnix("unixpacket"); for each connection PeerUID says who connected, MakeRoom
// lets messages fit, and Write sends one.
package seqpacket
