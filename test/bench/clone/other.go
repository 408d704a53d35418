//go:build !linux

// Command clone is for Linux only.
package main

import "fmt"

func main() { fmt.Println("bench clone: needs Linux") }
