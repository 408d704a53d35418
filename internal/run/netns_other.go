//go:build !linux

package run

import (
	"errors"
	"os/exec"
)

// startIn starts x; network namespaces are a thing of Linux (FreeBSD enters a vnet by jexec).
func startIn(path string, x *exec.Cmd) error {
	if path != "" {
		return errors.New("network namespaces exist on linux only")
	}
	return x.Start()
}
