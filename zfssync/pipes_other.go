//go:build !linux

package zfssync

// widen enlarges a pipe, where the system can: FreeBSD does so by itself (pipe(2)).
func widen(any) {}
