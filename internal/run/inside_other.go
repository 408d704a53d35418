//go:build !freebsd

package run

import (
	"errors"
	"syscall"
)

func inside(*Inside, *syscall.SysProcAttr) error { return errors.New("jails exist on FreeBSD only") }
