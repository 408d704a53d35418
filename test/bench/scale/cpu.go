package main

import (
	"syscall"
	"time"
)

// cpuTime is what this process has used of the processors, in both modes.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // of our own process: it cannot fail
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
