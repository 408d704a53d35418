//go:build !freebsd

package seqpacket

import "net"

// Write sends data as one message.
func Write(conn *net.UnixConn, data []byte) error {
	_, err := conn.Write(data)
	return err
}

// MakeRoom has nothing to do.
func MakeRoom(*net.UnixConn, int) error { return nil }
