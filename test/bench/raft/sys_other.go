//go:build !linux

package main

import "syscall"

func parentDeath() *syscall.SysProcAttr { return nil }
