//go:build !linux

// Command router is for Linux only.
package main

import "fmt"

func main() { fmt.Println("bench router: needs Linux") }
