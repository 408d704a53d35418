package main

import "syscall"

// parentDeath lets a server end when the bench is killed.
func parentDeath() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
}
