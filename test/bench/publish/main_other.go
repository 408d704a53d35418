//go:build !linux

// Command publish measures a published port between namespaces, which only Linux has.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bench publish: needs network namespaces: run it on Linux")
	os.Exit(1)
}
