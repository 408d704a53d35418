package netd

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// announce tells the neighbours on a bridge that these addresses are behind the host now.
func (d *linux) announce(n network, now []Remote) error {
	if len(now) == 0 {
		return nil
	}
	return d.onHost(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open packet socket: %w", err)
		}
		defer unix.Close(fd)
		mac := MACOf(n.ID, macBridge)
		for _, r := range now {
			err := unix.Sendto(fd, gratuitous(r.Addr, mac), 0, &unix.SockaddrLinklayer{Ifindex: n.bridge, Halen: 6, Addr: [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}})
			// A bridge without a port that is up sends nothing, and then nobody has to hear it.
			if err != nil && !errors.Is(err, unix.ENETDOWN) && !errors.Is(err, unix.ENOBUFS) {
				return fmt.Errorf("announce %v: %w", r.Addr, err)
			}
		}
		return nil
	})
}
