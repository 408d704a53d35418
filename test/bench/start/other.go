//go:build !linux

// Command start is for Linux only.
package main

import "fmt"

func main() { fmt.Println("bench start: needs Linux") }
