//go:build !linux && !freebsd

package dhcpd

import "errors"

func prepare(int, string) error { return errors.New("not on this operating system") }
