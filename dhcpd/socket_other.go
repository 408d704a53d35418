//go:build !linux && !freebsd

package dhcpd

import (
	"errors"
	"net"
	"time"
)

func prepare(int, string) error { return errors.New("not on this operating system") }

// deviceMTU: guests are not told.
func deviceMTU(*net.UDPConn, string) int { return 0 }

// ageOf: the kernel does not say.
func ageOf([]byte) time.Duration { return 0 }
