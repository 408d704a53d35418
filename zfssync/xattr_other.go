//go:build !linux

package zfssync

import "os"

// setXattr does nothing: file capabilities and their attribute are Linux's.
func setXattr(*os.File, string, string) error { return nil }
