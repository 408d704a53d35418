//go:build !freebsd

package zfssync

// lchflags has nothing to do: root of a jail can set no flags here.
func lchflags(string) error { return nil }
