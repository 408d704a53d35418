package dhcpd

import (
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// ipOnesBcast is IP_ONESBCAST of ip(4): a datagram to the broadcast address of
// the interface's subnet leaves with 255.255.255.255 as its destination.
const ipOnesBcast = 23

// prepare: there is no binding to an interface; a router's namespace has one
// with guests, and its rules let DHCP in from there alone.
func prepare(fd int, _ string) error {
	err := errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1),
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, ipOnesBcast, 1),
	)
	if err != nil {
		return fmt.Errorf("set socket options: %w", err)
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer) // as much as the host allows
	return nil
}

// deviceMTU: guests are not told.
func deviceMTU(*net.UDPConn, string) int { return 0 }

// ageOf: the kernel does not say.
func ageOf([]byte) time.Duration { return 0 }
