//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "faults: the bench needs Linux: network namespaces, TAP devices, fsfreeze")
	os.Exit(1)
}
