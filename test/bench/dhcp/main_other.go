//go:build !linux

// Command dhcp measures dhcpd beside its peers, on Linux alone.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bench dhcp: it needs network namespaces, which Linux has")
	os.Exit(1)
}
