//go:build !linux

package live

import "syscall"

func ownSession() *syscall.SysProcAttr { return nil }
