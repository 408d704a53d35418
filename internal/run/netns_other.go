//go:build !linux

package run

import (
	"errors"
	"os/exec"
)

// startIn starts x; namespaces are a thing of Linux (FreeBSD enters a vnet by jexec).
func startIn(c Cmd, x *exec.Cmd) error {
	if c.NetNS != "" || len(c.Hide) > 0 {
		return errors.New("namespaces exist on linux only")
	}
	return x.Start()
}
