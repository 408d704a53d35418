package main

import (
	"syscall"
	"time"
)

// cpuTime is the processor time that this process has used, as user and in
// the kernel: getrusage(2).
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic("getrusage: " + err.Error()) // cannot fail with valid arguments
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
