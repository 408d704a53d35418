package dhcpd

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"syscall"
)

// receiveBuffer holds what comes while an entry is written, in bytes: bursts of
// a second at ten thousand packets a second.
const receiveBuffer = 4 << 20

// Open opens the socket for DHCP on one interface, port 67. It needs root in
// its network namespace, or the capability to bind low ports and raw devices.
func Open(ctx context.Context, device string) (*net.UDPConn, error) {
	return open(ctx, device, serverPort)
}

func open(ctx context.Context, device string, port int) (*net.UDPConn, error) {
	var failed error
	conf := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		err := c.Control(func(fd uintptr) { failed = prepare(int(fd), device) })
		if err == nil {
			err = failed
		}
		return err
	}}
	pc, err := conf.ListenPacket(ctx, "udp4", net.JoinHostPort("0.0.0.0", strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("open the DHCP socket on %s: %w", device, err)
	}
	return pc.(*net.UDPConn), nil
}
