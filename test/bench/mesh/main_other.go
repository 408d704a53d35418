//go:build !linux

// Command mesh measures the overlay between two namespaces, which only Linux has.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bench mesh: needs network namespaces: run it on Linux")
	os.Exit(1)
}
