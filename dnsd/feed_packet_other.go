//go:build !freebsd

package dnsd

import "net"

// writeMessage sends data as one message.
func writeMessage(conn *net.UnixConn, data []byte) error {
	_, err := conn.Write(data)
	return err
}

// makeRoom has nothing to do.
func makeRoom(*net.UnixConn) error { return nil }
