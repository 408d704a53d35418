package main

import "syscall"

// parentDeath lets etcd end when the bench is killed.
func parentDeath() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
}
