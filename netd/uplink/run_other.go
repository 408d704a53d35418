//go:build !linux

package uplink

import (
	"context"
	"errors"
	"log/slog"
)

// Run is not there on this system: dhclient(8) does the same for a whole host.
func Run(context.Context, string, *slog.Logger) error {
	return errors.New("an uplink by DHCP needs Linux")
}
