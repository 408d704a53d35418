package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// finding is one thing that a host has, or lacks.
type finding struct {
	name string
	ok   bool
	need bool   // without it nothing works; else something is missing
	text string // what is there, or what is missing
	how  string // how to get it
}

// hostCheck looks at this host and changes nothing.
type hostCheck struct {
	runner run.Runner
	exists func(path string) bool
	read   func(path string) string // "" when it cannot be read
	root   bool
}

func realHostCheck() hostCheck {
	return hostCheck{
		runner: run.Real{}, root: os.Geteuid() == 0,
		exists: func(path string) bool { _, err := os.Stat(path); return err == nil },
		read: func(path string) string {
			raw, err := os.ReadFile(path)
			if err != nil {
				return ""
			}
			return string(raw)
		},
	}
}

// out is the standard output of a command, trimmed; ok is false when it failed.
func (h hostCheck) out(ctx context.Context, argv ...string) (text string, ok bool) {
	res, err := h.runner.Run(ctx, run.Cmd{Argv: argv, Timeout: 10 * time.Second})
	return strings.TrimSpace(string(res.Stdout)), err == nil
}

// all looks at everything for one system.
func (h hostCheck) all(ctx context.Context, goos string) []finding {
	list := []finding{{name: "root", ok: h.root, need: true, text: "jails, networks and mounts need root", how: "run rexcarcer as root"}}
	switch goos {
	case "freebsd":
		return append(list, h.freebsd(ctx)...)
	case "linux":
		return append(list, h.linux(ctx)...)
	}
	return append(list, finding{name: "system", need: true, text: "jails are run on FreeBSD and Linux, not on " + goos, how: "look around with rexcarcer -dev -runtime=sim"})
}

// checkHost prints what the host lacks, in words, and how to get it.
func checkHost(ctx context.Context, w io.Writer, h hostCheck, goos string) error {
	var lacks []string
	for _, f := range h.all(ctx, goos) {
		mark := "ok     "
		if !f.ok {
			mark = "without"
			if f.need {
				mark = "MISSING"
				lacks = append(lacks, f.name)
			}
		}
		if _, err := fmt.Fprintf(w, "%s %-10s %s\n", mark, f.name, f.text); err != nil {
			return err
		}
		if !f.ok {
			if _, err := fmt.Fprintf(w, "                   %s\n", strings.ReplaceAll(f.how, "\n", "\n                   ")); err != nil {
				return err
			}
		}
	}
	if len(lacks) > 0 {
		return errors.New("this host cannot run jails yet: " + strings.Join(lacks, ", "))
	}
	_, err := fmt.Fprintln(w, "nothing was changed; `rexcarcer selftest` proves the rest")
	return err
}

// linux is the same for Linux hosts.
func (h hostCheck) linux(ctx context.Context) []finding {
	var list []finding
	_, crun := h.out(ctx, "crun", "--version")
	_, runc := h.out(ctx, "runc", "--version")
	list = append(list, finding{name: "runtime", ok: crun || runc, need: true, text: "an OCI runtime: runc or crun", how: "apt-get install runc crun"})
	_, nft := h.out(ctx, "nft", "--version")
	list = append(list, finding{name: "nftables", ok: nft, need: true, text: "rules between networks, NAT and published ports", how: "apt-get install nftables"})
	list = append(list, finding{name: "overlayfs", ok: strings.Contains(h.read("/proc/filesystems"), "overlay") || h.exists("/sys/module/overlay"), need: true,
		text: "roots of jails are overlays", how: "modprobe overlay"})
	list = append(list, finding{name: "cgroups", ok: h.exists("/sys/fs/cgroup"), need: true, text: "limits and accounting", how: "mount -t cgroup2 none /sys/fs/cgroup"})
	_, deb := h.out(ctx, "debootstrap", "--version")
	list = append(list, finding{name: "debootstrap", ok: deb, text: "bases of the form debian:SUITE", how: "apt-get install debootstrap"})
	_, zfs := h.out(ctx, "zfs", "version")
	return append(list, finding{name: "zfs", ok: zfs, text: "storage on a pool; a directory does otherwise", how: "install OpenZFS and make a pool"})
}
