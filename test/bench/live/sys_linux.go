package live

import "syscall"

// ownSession keeps a Ctrl-C at the terminal from the daemon: Stop ends it.
func ownSession() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
