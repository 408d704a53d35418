//go:build unix

package pki

import (
	"io/fs"
	"syscall"
)

// plainOpen are flags that neither follow a last link nor wait for a FIFO.
const plainOpen = syscall.O_NOFOLLOW | syscall.O_NONBLOCK

// ownedBy tells whether info's file belongs to uid and gid.
func ownedBy(info fs.FileInfo, uid, gid int) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == uid && int(stat.Gid) == gid
}
