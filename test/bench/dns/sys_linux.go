package main

import "syscall"

// parentDeath lets a server end when the bench is killed, and gives it a process
// group of its own.
func parentDeath() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
}
