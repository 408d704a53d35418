package main

import (
	"log/slog"
	"path/filepath"

	"github.com/rexcarcer/rexcarcer/internal/run"
	"github.com/rexcarcer/rexcarcer/jail"
)

// hostConfDir is where the jails' files are on a FreeBSD host that serves for good.
const hostConfDir = "/usr/local/etc/rexcarcer/jails"

// openJails is the driver of jails for this system. state is a directory of this instance's own.
func openJails(o options, instance, state string, log *slog.Logger) (jail.Driver, error) {
	dir := filepath.Join(state, "jails")
	if o.Runtime == "jail" {
		return jail.NewFreeBSD(jail.FreeBSDConfig{StateDir: dir, ConfDir: confDir(o), Runner: run.Real{}, StrictLimits: o.StrictLimits, Log: log})
	}
	return jail.NewLinux(jail.LinuxConfig{StateDir: dir, Instance: instance, Runner: run.Real{}, Log: log})
}

// confDir is the jails' own directory below the configuration; a daemon that is one of several has it beside its data.
func confDir(o options) string {
	if o.DataDir == defaultDataDir {
		return hostConfDir
	}
	return filepath.Join(o.DataDir, "jail.conf")
}
